import { describe, expect, it } from 'vitest';
import { finished } from '../../bench/support/cells.js';
import { activationNames } from '../../src/network/activation.js';
import { stateSize, type Cell } from '../../src/network/cell.js';
import { matrix } from '../../src/network/matrix.js';
import { boundCell, type CellBounds } from '../../src/stability/cellBounds.js';
import type { CellCertificate } from '../../src/stability/certificates/certificate.js';
import { comparisonCertificate } from '../../src/stability/certificates/comparison.js';
import { certificatesOf } from '../../src/stability/certificates/family.js';
import { isFinite, magnitude, pointBox, type Box } from '../../src/stability/interval.js';
import { attackBox, attackComparison, attackContraction, type Claim } from '../support/certificateChecks.js';
import { ascendContraction, geometryOf } from '../support/contractionAttacks.js';
import {
  gruVariants,
  lstmVariants,
  randomGru,
  randomInputBox,
  randomLstm,
  randomRnn,
  shrunk,
  type CellShape,
} from '../support/cells.js';
import { Random } from '../support/random.js';

/** Attacks on every certificate of the family in its own norm: random pairs, nearby pairs, and gradient ascent. */

type Make = (shape: CellShape, random: Random) => Cell;
const kinds: readonly (readonly [string, Make])[] = [
  ...activationNames.map((name) => [`RNN ${name}`, (s: CellShape, r: Random) => randomRnn(name, s, r)] as const),
  ...lstmVariants.map((variant) => [`LSTM ${variant}`, (s: CellShape, r: Random) => randomLstm(variant, s, r)] as const),
  ...gruVariants.map((variant) => [`GRU ${variant}`, (s: CellShape, r: Random) => randomGru(variant, s, r)] as const),
];

/** Strong weights below the diagonal, so that the scales of the norms span many orders of magnitude. */
function triangular(cell: Cell, random: Random): Cell {
  if (cell.kind !== 'rnn') return cell;
  const n = cell.hiddenSize;
  const recurrent = matrix(
    n,
    n,
    cell.gate.recurrent.data.map((_, p) => {
      const [r, c] = [Math.floor(p / n), p % n];
      return (r === c ? 0.7 : c < r ? 1 : 0) * random.uniform(-1, 1);
    }),
  );
  return { ...cell, gate: { ...cell.gate, recurrent } };
}

interface Certified extends Claim {
  readonly bounds: CellBounds;
  readonly certificates: readonly CellCertificate[];
}

function certify(cell: Cell, input: Box, initial: Float64Array): Certified {
  const box = boundCell(cell, input, pointBox(initial));
  const { bounds, certificates } = finished(certificatesOf(cell, box, input, initial));
  return { cell, input, initial, bounds, certificates };
}

/** A random cell, with smaller recurrent weights until there is something to certify. */
function certifiedCell(make: Make, hidden: number, random: Random): Certified {
  const shape = { hidden, input: random.int(1, 4), scale: random.logarithmic(0.05, 2) };
  let cell = make(random.chance(0.15) ? { ...shape, clip: random.logarithmic(0.05, 3) } : shape, random);
  const input = randomInputBox(cell.inputSize, random);
  const initial = random.chance(0.6) ? new Float64Array(stateSize(cell)) : random.vector(stateSize(cell), -1.2, 1.2);
  // Just above one there is room for the better certificates.
  for (let i = 0; i < 12; i++) {
    const { report } = comparisonCertificate(boundCell(cell, input, pointBox(initial)));
    if (report.lambda !== null && report.lambda < 1.05) break;
    cell = shrunk(cell, 0.7);
  }
  return certify(cell, input, initial);
}

const contracting = (c: Certified) => c.certificates.filter(({ contraction }) => contraction !== null && contraction.lambda > 0);

/** Everything that a certificate says about its norm, on random vectors of every order of magnitude. */
function attackMetric({ bounds, cell }: Certified, { contraction }: CellCertificate, random: Random, vectors: number): void {
  const { metric } = contraction!;
  const tolerance = 1 + 1e-9;
  const matrix = 'gate' in cell ? cell.gate.recurrent : cell.candidate.recurrent;
  const rows = metric.rowNorms(matrix);
  for (let i = 0; i < vectors; i++) {
    const bound = random.vector(metric.reach.length, 0, 1).map((v) => v * (random.chance(0.5) ? random.logarithmic(1e-6, 1) : 1));
    const size = metric.sizeOf(bound);
    const d = bound.map((v) => v * (random.chance(0.7) ? random.pick([-1, 1]) : random.uniform(-1, 1)));
    const norm = metric.norm(d);
    expect(norm).toBeLessThanOrEqual(size * tolerance);
    expect(metric.norm(d.map((v) => -3 * v)) / norm).toBeCloseTo(3, 9);
    d.forEach((v, j) => expect(Math.abs(v)).toBeLessThanOrEqual(metric.reach[j]! * norm * tolerance));
    for (let r = 0; r < matrix.rows; r++) {
      let sum = 0;
      for (let c = 0; c < matrix.cols; c++) sum += matrix.data[r * matrix.cols + c]! * d[c]!;
      expect(Math.abs(sum)).toBeLessThanOrEqual(rows[r]! * norm * tolerance);
    }
  }
  const largest = isFinite(bounds.state) ? metric.sizeOf(magnitude(bounds.state)) : Infinity;
  expect(metric.norm(bounds.state.lower.map((v) => (Number.isFinite(v) ? v : 0)))).toBeLessThanOrEqual(largest * tolerance);
}

let attempts = 0;
const certifiedBy = new Map<string, number>();

/** Fails where any pair moves apart, or closer by less than claimed. */
function attackAll(claim: Certified, random: Random, pairs: number, starts: number, label: string): void {
  for (const certificate of contracting(claim)) {
    const { name, lambda } = certificate.report;
    const what = `${label}, ${name}, λ = ${lambda}`;
    expect(lambda, what).toBeLessThan(1);
    expect(attackContraction(claim, certificate.contraction!, random, pairs), `${what}: pairs`).toBeLessThanOrEqual(1);
    const ascent = ascendContraction(claim, certificate, random, starts);
    expect(ascent.ratio, `${what}: ascent`).toBeLessThanOrEqual(1);
    attempts += pairs + ascent.attempts;
    certifiedBy.set(name, (certifiedBy.get(name) ?? 0) + 1);
    attackMetric(claim, certificate, random, 3);
  }
}

describe('the attack itself', () => {
  it('knows the gradient and the steepest direction of every norm', () => {
    const seen = new Set<string>();
    for (const [name, make] of kinds.filter(([kind]) => /Tanh|default|reset/.test(kind))) {
      const random = new Random(8100);
      const claim = certifiedCell((shape, r) => shrunk(make(shape, r), 0.1), 5, random);
      for (const certificate of contracting(claim)) {
        const { metric } = certificate.contraction!;
        const geometry = geometryOf(certificate, metric);
        seen.add(certificate.report.norm);
        for (let i = 0; i < 20; i++) {
          const [y, d] = [random.vector(metric.reach.length), random.vector(metric.reach.length)];
          const dot = (a: Float64Array, b: Float64Array) => a.reduce((sum, v, j) => sum + v * b[j]!, 0);
          const z = geometry.gradient(y);
          const best = geometry.steepest(y);
          expect(dot(z, y) / metric.norm(y), name).toBeCloseTo(1, 6);
          expect(dot(z, d) / metric.norm(d), name).toBeLessThanOrEqual(1 + 1e-6);
          expect(metric.norm(best), name).toBeCloseTo(1, 6);
          expect(dot(y, best) / (dot(y, d) / metric.norm(d)), name).toSatisfy((v: number) => v >= 1 - 1e-6 || v < 0);
        }
      }
    }
    expect(seen.size).toBeGreaterThanOrEqual(6);
  });
});

describe('no certificate of the family is exceeded in its own norm', () => {
  it.each(kinds)('%s, 1 to 24 units', (name, make) => {
    const cells = name.startsWith('RNN') ? 6 : 14;
    let certified = 0;
    for (let seed = 0; seed < cells; seed++) {
      const random = new Random(7000 + seed);
      const hidden = seed % 3 === 2 ? random.int(5, 24) : random.int(1, 4);
      const claim = certifiedCell(make, hidden, random);
      const label = `${name}, seed ${seed}`;
      attackAll(claim, random, 400, 8, label);
      // The ellipsoid, and everything that was bounded anew inside it.
      expect(attackBox(claim, random), `${label}: reachable states`).toBeLessThanOrEqual(1);
      expect(attackComparison(claim, random).ratio, `${label}: comparison operator`).toBeLessThanOrEqual(1);
      if (contracting(claim).length > 0) certified++;
    }
    expect(certified).toBeGreaterThan(cells / 3);
  });

  it.each<[string, number, Make]>([
    ['RNN Tanh', 64, (s, r) => randomRnn('Tanh', s, r)],
    ['RNN Relu', 128, (s, r) => randomRnn('Relu', s, r)],
    ['nearly triangular RNN', 48, (s, r) => triangular(randomRnn('Tanh', s, r), r)],
    ['LSTM', 64, (s, r) => randomLstm('default', s, r)],
    ['LSTM', 128, (s, r) => randomLstm('default', s, r)],
    ['LSTM with peepholes', 64, (s, r) => randomLstm('peephole', s, r)],
    ['GRU, reset after', 128, (s, r) => randomGru('reset after', s, r)],
    ['GRU, reset before', 64, (s, r) => randomGru('reset before', s, r)],
  ])('%s of %d units', (name, hidden, make) => {
    const random = new Random(7500 + hidden);
    const claim = certifiedCell(make, hidden, random);
    expect(contracting(claim).length).toBeGreaterThan(0);
    attackAll(claim, random, 200, 2, name);
    expect(attackBox(claim, random, 3), `${name}: reachable states`).toBeLessThanOrEqual(1);
  });

  it('in at least 100,000 attempts, and on every certificate', () => {
    expect(attempts).toBeGreaterThanOrEqual(100_000);
    const names = [
      'miller-hardt',
      'comparison-operator',
      'scaled-spectral-norm',
      'numerical-radius',
      'delta-iss',
      'block-quadratic',
    ];
    for (const name of names) expect(certifiedBy.get(name) ?? 0, name).toBeGreaterThanOrEqual(5);
  });
});
