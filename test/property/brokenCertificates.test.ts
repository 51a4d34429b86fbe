import { describe, expect, it } from 'vitest';
import { finished } from '../../bench/support/cells.js';
import { stateSize, type Cell, type Gate } from '../../src/network/cell.js';
import { matrix } from '../../src/network/matrix.js';
import { boundCell } from '../../src/stability/cellBounds.js';
import type { CellCertificate } from '../../src/stability/certificates/certificate.js';
import { certificatesOf } from '../../src/stability/certificates/family.js';
import { box, isFinite, pointBox } from '../../src/stability/interval.js';
import { randomGru, randomLstm, randomRnn, shrunk, type CellShape } from '../support/cells.js';
import { attackContraction } from '../support/certificateChecks.js';
import { ascendContraction } from '../support/contractionAttacks.js';
import { Random } from '../support/random.js';

/** The attacks that no certificate falls to do bring down certificates that were broken on purpose. */

type Make = (shape: CellShape, random: Random) => Cell;
const rnn: Make = (s, r) => randomRnn('Tanh', s, r);
const lstm: Make = (s, r) => randomLstm('default', s, r);
const gruAfter: Make = (s, r) => randomGru('reset after', s, r);
const gruBefore: Make = (s, r) => randomGru('reset before', s, r);

const cells = 30;

/** Weak weights and inputs: gates hardly move, so that a good certificate is nearly attained. */
function weakCell(make: Make, seed: number): Cell {
  const random = new Random(9500 + seed);
  return shrunk(make({ hidden: random.int(1, 2), input: 1, scale: random.logarithmic(0.1, 0.6) }, random), 0.8);
}

/** How many certificates of the name fall, of cells that are certified as `certified` says and attacked as they are. */
function fallen(
  name: string,
  cellOf: (seed: number) => Cell,
  certified: (cell: Cell) => Cell,
  breakIt: (certificate: CellCertificate) => CellCertificate,
): { attacked: number; fell: number } {
  let attacked = 0;
  let fell = 0;
  for (let seed = 0; seed < cells; seed++) {
    const random = new Random(9600 + seed);
    const cell = cellOf(seed);
    const input = box(cell.inputSize, -0.3, 0.3);
    const initial = new Float64Array(stateSize(cell));
    const claimed = certified(cell);
    const found = finished(certificatesOf(claimed, boundCell(claimed, input, pointBox(initial)), input, initial));
    const certificate = found.certificates.find((c) => c.report.name === name);
    if (!certificate?.contraction || !isFinite(found.bounds.state)) continue;
    const broken = breakIt(certificate);
    const claim = { cell, input, initial, bounds: found.bounds };
    attacked++;
    const ratio = Math.max(
      attackContraction(claim, broken.contraction!, random, 200),
      ascendContraction(claim, broken, random, 8).ratio,
    );
    if (ratio > 1) fell++;
  }
  return { attacked, fell };
}

const smaller =
  (factor: number) =>
  ({ report, contraction }: CellCertificate): CellCertificate => ({
    report,
    contraction: contraction && { ...contraction, lambda: contraction.lambda * factor },
  });
const asItIs = (certificate: CellCertificate) => certificate;
const itself = (cell: Cell) => cell;

const family: [string, string, Make][] = [
  ['the scaled spectral norm', 'scaled-spectral-norm', rnn],
  ['the numerical radius', 'numerical-radius', rnn],
  ['the block certificate of an LSTM', 'block-quadratic', lstm],
  ['the block certificate of a GRU, reset after', 'block-quadratic', gruAfter],
  ['the block certificate of a GRU, reset before', 'block-quadratic', gruBefore],
];

describe.each(family)('%s', (_, name, make) => {
  it('stands as it is', () => {
    const { attacked, fell } = fallen(name, (seed) => weakCell(make, seed), itself, asItIs);
    expect(attacked).toBeGreaterThan(cells / 2);
    expect(fell).toBe(0);
  });

  it('falls with a λ that is 2 % too small', () => {
    const { attacked, fell } = fallen(name, (seed) => weakCell(make, seed), itself, smaller(0.98));
    expect(fell).toBeGreaterThan(attacked / 10);
  });
});

const without = (gate: Gate): Gate => ({ ...gate, recurrent: matrix(gate.recurrent.rows, gate.recurrent.cols) });

/** What the reset gate multiplies is small, so its own weights are made large for its slope to count. */
const gruReset: Make = (s, r) => {
  const cell = randomGru('reset before', { ...s, scale: 0.3 * s.scale }, r);
  if (cell.kind !== 'gru') return cell;
  const loud = matrix(
    s.hidden,
    s.hidden,
    cell.reset.recurrent.data.map((v) => 40 * v),
  );
  return { ...cell, reset: { ...cell.reset, recurrent: loud } };
};

const leftOut: [string, Make, (cell: Cell) => Cell][] = [
  ['the forget gate of an LSTM', lstm, (c) => (c.kind === 'lstm' ? { ...c, forget: without(c.forget) } : c)],
  ['the input gate of an LSTM', lstm, (c) => (c.kind === 'lstm' ? { ...c, input: without(c.input) } : c)],
  ['the candidate of an LSTM', lstm, (c) => (c.kind === 'lstm' ? { ...c, candidate: without(c.candidate) } : c)],
  ['the output gate of an LSTM', lstm, (c) => (c.kind === 'lstm' ? { ...c, output: without(c.output) } : c)],
  ['the update gate of a GRU', gruAfter, (c) => (c.kind === 'gru' ? { ...c, update: without(c.update) } : c)],
  ['the reset gate of a GRU, reset after', gruAfter, (c) => (c.kind === 'gru' ? { ...c, reset: without(c.reset) } : c)],
  ['the reset gate of a GRU, reset before', gruReset, (c) => (c.kind === 'gru' ? { ...c, reset: without(c.reset) } : c)],
  ['the candidate of a GRU', gruBefore, (c) => (c.kind === 'gru' ? { ...c, candidate: without(c.candidate) } : c)],
];

it.each(leftOut)('a block certificate that forgets the slope of %s falls', (_, make, certified) => {
  const strong = (seed: number) => {
    const random = new Random(9700 + seed);
    return make({ hidden: random.int(1, 3), input: 1, scale: random.logarithmic(0.5, 6) }, random);
  };
  const { attacked, fell } = fallen('block-quadratic', strong, certified, asItIs);
  expect(attacked).toBeGreaterThan(2);
  expect(fell).toBeGreaterThan(0);
});
