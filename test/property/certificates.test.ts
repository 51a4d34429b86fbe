import { describe, expect, it } from 'vitest';
import { activation, activationNames } from '../../src/network/activation.js';
import { stateSize, type Cell, type Gate } from '../../src/network/cell.js';
import { matrix } from '../../src/network/matrix.js';
import { boundCell, type CellBounds } from '../../src/stability/cellBounds.js';
import { comparisonCertificate } from '../../src/stability/certificates/comparison.js';
import { isFinite, pointBox, type Box } from '../../src/stability/interval.js';
import { attackBox, attackComparison, attackContraction, type Claim } from '../support/certificateChecks.js';
import {
  gruVariants,
  lstmVariants,
  randomGru,
  randomInputBox,
  randomLstm,
  randomRnn,
  randomShape,
  shrunk,
  type CellShape,
} from '../support/cells.js';
import { Random } from '../support/random.js';

/** Every cell kind with a way to make random ones of it. */
const kinds: readonly (readonly [string, (shape: CellShape, random: Random) => Cell])[] = [
  ...activationNames.map((name) => [`RNN ${name}`, (s: CellShape, r: Random) => randomRnn(name, s, r)] as const),
  ...lstmVariants.map((variant) => [`LSTM ${variant}`, (s: CellShape, r: Random) => randomLstm(variant, s, r)] as const),
  ...gruVariants.map((variant) => [`GRU ${variant}`, (s: CellShape, r: Random) => randomGru(variant, s, r)] as const),
];

function claimFor(cell: Cell, random: Random): HonestClaim {
  const input = randomInputBox(cell.inputSize, random);
  const initial = random.chance(0.5) ? new Float64Array(stateSize(cell)) : random.vector(stateSize(cell), -1.5, 1.5);
  return { cell, input, initial, bounds: boundCell(cell, input, pointBox(initial)) };
}

interface HonestClaim extends Claim {
  readonly bounds: CellBounds;
}

/** λ of the comparison operator, with its norm where it is below one. */
const contractionOf = ({ bounds }: HonestClaim) => comparisonCertificate(bounds).contraction;

describe.each(kinds)('certificates of %s', (name, make) => {
  const cells = 60;

  it('the reachable box holds every state of random and adversarial trajectories', () => {
    let finite = 0;
    for (let seed = 0; seed < cells; seed++) {
      const random = new Random(1000 + seed);
      const claim = claimFor(make(randomShape(random), random), random);
      if (isFinite(claim.bounds.state)) finite++;
      expect(attackBox(claim, random), `${name}, seed ${seed}`).toBeLessThanOrEqual(1);
    }
    expect(finite).toBeGreaterThan(cells / 4);
  });

  it('the comparison operator bounds what one step makes of any two states and inputs', () => {
    for (let seed = 0; seed < cells; seed++) {
      const random = new Random(2000 + seed);
      const claim = claimFor(make(randomShape(random), random), random);
      expect(attackComparison(claim, random).ratio, `${name}, seed ${seed}`).toBeLessThanOrEqual(1);
    }
  });

  it('no pair of 10,000 exceeds λ in the certificate’s own norm', () => {
    let pairs = 0;
    for (let seed = 0; pairs < 10_000; seed++) {
      expect(seed, 'certified cells are too rare').toBeLessThan(400);
      const random = new Random(3000 + seed);
      let cell = make(randomShape(random), random);
      let claim = claimFor(cell, new Random(seed));
      // Smaller recurrent weights until a certificate holds, so that the λ are spread below 1.
      for (let i = 0; i < 12 && !contractionOf(claim); i++) {
        cell = shrunk(cell, 0.7);
        claim = claimFor(cell, new Random(seed));
      }
      const contraction = contractionOf(claim);
      if (!contraction || contraction.lambda === 0 || !isFinite(claim.bounds.state)) continue;
      expect(attackContraction(claim, contraction, random, 250), `${name}, seed ${seed}`).toBeLessThanOrEqual(1);
      pairs += 250;
    }
  });
});

/**
 * Certificates that are wrong by little, made from honest ones. The attacks above must see through every one of them, or their
 * silence about the honest ones would mean nothing.
 */
describe('the attacks can fail a certificate', () => {
  const attempts = 60;
  const scaledBox = (b: Box, factor: number): Box => {
    const to = (v: number, i: number) => (b.lower[i]! + b.upper[i]!) / 2 + factor * (v - (b.lower[i]! + b.upper[i]!) / 2);
    return { lower: b.lower.map(to), upper: b.upper.map(to) };
  };
  const without = (gate: Gate): Gate => ({ ...gate, recurrent: matrix(gate.recurrent.rows, gate.recurrent.cols) });
  /** The comparison operator of another cell, with the reachable box of the right one. */
  const compareOf = (claim: Claim, other: Cell): Claim['bounds'] => ({
    state: claim.bounds.state,
    compare: boundCell(other, claim.input, pointBox(claim.initial)).compare,
  });
  /** Small cells with weak weights: their gates hardly move, so that the bounds are nearly attained. */
  const tightShape = (random: Random): CellShape => ({
    hidden: random.int(1, 2),
    input: random.int(1, 2),
    scale: random.logarithmic(0.05, 1),
  });
  const caught = (
    make: (shape: CellShape, random: Random) => Cell,
    attack: (claim: HonestClaim, random: Random) => number,
  ): number => {
    let count = 0;
    for (let seed = 0; seed < attempts; seed++) {
      const random = new Random(4000 + seed);
      if (attack(claimFor(make(tightShape(random), random), random), random) > 1) count++;
    }
    return count;
  };
  const lstm = (s: CellShape, r: Random) => randomLstm('default', s, r);
  const peephole = (s: CellShape, r: Random) => randomLstm('peephole', s, r);
  const coupled = (s: CellShape, r: Random) => randomLstm('coupled', s, r);
  const gruAfter = (s: CellShape, r: Random) => randomGru('reset after', s, r);
  const gruBefore = (s: CellShape, r: Random) => randomGru('reset before', s, r);
  const rnn = (s: CellShape, r: Random) => randomRnn('Tanh', s, r);
  const everyKind = { rnn, lstm, peephole, coupled, gruAfter, gruBefore };

  it.each(Object.entries(everyKind))('%s: an operator 2 % too small', (_, make) => {
    const attack = (claim: Claim, random: Random) => {
      const compare: Claim['bounds']['compare'] = (h, x) => claim.bounds.compare(h, x).map((v) => v * 0.98);
      return attackComparison({ ...claim, bounds: { ...claim.bounds, compare } }, random).ratio;
    };
    expect(caught(make, attack)).toBeGreaterThan(attempts / 10);
  });

  it.each(Object.entries(everyKind))('%s: a reachable box 2 % too small', (_, make) => {
    const attack = (claim: Claim, random: Random) =>
      attackBox({ ...claim, bounds: { ...claim.bounds, state: scaledBox(claim.bounds.state, 0.98) } }, random);
    expect(caught(make, attack)).toBeGreaterThan(attempts / 10);
  });

  it.each(Object.entries(everyKind))('%s: a λ 2 % too small', (_, make) => {
    const attack = (claim: HonestClaim, random: Random) => {
      const contraction = contractionOf(claim);
      if (!contraction || contraction.lambda === 0 || !isFinite(claim.bounds.state)) return 0;
      return attackContraction(claim, { ...contraction, lambda: contraction.lambda * 0.98 }, random, 250);
    };
    expect(caught(make, attack)).toBeGreaterThan(attempts / 10);
  });

  const shares: readonly (readonly [string, (shape: CellShape, random: Random) => Cell, (cell: Cell) => Cell])[] = [
    ['the forget gate of an LSTM', lstm, (c) => (c.kind === 'lstm' ? { ...c, forget: without(c.forget) } : c)],
    ['the input gate of an LSTM', lstm, (c) => (c.kind === 'lstm' ? { ...c, input: without(c.input) } : c)],
    ['the output gate of an LSTM', lstm, (c) => (c.kind === 'lstm' ? { ...c, output: without(c.output) } : c)],
    ['the candidate of an LSTM', lstm, (c) => (c.kind === 'lstm' ? { ...c, candidate: without(c.candidate) } : c)],
    ['the peepholes of an LSTM', peephole, (c) => (c.kind === 'lstm' ? { ...c, peephole: null } : c)],
    ['the coupled gate of an LSTM', coupled, (c) => (c.kind === 'lstm' ? { ...c, input: without(c.input) } : c)],
    ['the update gate of a GRU', gruAfter, (c) => (c.kind === 'gru' ? { ...c, update: without(c.update) } : c)],
    ['the reset gate of a GRU, reset after', gruAfter, (c) => (c.kind === 'gru' ? { ...c, reset: without(c.reset) } : c)],
    ['the reset gate of a GRU, reset before', gruBefore, (c) => (c.kind === 'gru' ? { ...c, reset: without(c.reset) } : c)],
    ['the candidate of a GRU', gruBefore, (c) => (c.kind === 'gru' ? { ...c, candidate: without(c.candidate) } : c)],
  ];
  it.each(shares)('%s left out', (_, make, leaveOut) => {
    const strong = (shape: CellShape, random: Random) => make({ ...shape, scale: shape.scale * 4 }, random);
    const attack = (claim: Claim, random: Random) =>
      attackComparison({ ...claim, bounds: compareOf(claim, leaveOut(claim.cell)) }, random).ratio;
    expect(caught(strong, attack)).toBeGreaterThan(0);
  });

  it('a slope dropped: HardSigmoid taken for the flatter logistic function', () => {
    const steep = (s: CellShape, r: Random): Cell => {
      const cell = randomRnn('Sigmoid', s, r);
      return { ...cell, gate: { ...cell.gate, activation: activation('HardSigmoid', 0.3, 0.5) } };
    };
    const attack = (claim: Claim, random: Random) => {
      const { cell } = claim;
      const flat = cell.kind === 'rnn' ? { ...cell, gate: { ...cell.gate, activation: activation('Sigmoid') } } : cell;
      return attackComparison({ ...claim, bounds: compareOf(claim, flat) }, random).ratio;
    };
    expect(caught(steep, attack)).toBeGreaterThan(attempts / 2);
  });
});
