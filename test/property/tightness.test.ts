import { describe, expect, it } from 'vitest';
import { certified, finished, uniformCell } from '../../bench/support/cells.js';
import type { RnnCell } from '../../src/network/cell.js';
import { activation } from '../../src/network/activation.js';
import { matrix } from '../../src/network/matrix.js';
import { box } from '../../src/stability/interval.js';
import { jacobianLowerBound } from '../../src/stability/lowerBound.js';
import { Random } from '../support/random.js';

/** How small λ must at least be for cells whose certificates are known to be able to reach it, for several seeds. */

const input = box(8, -1, 1);
const smallest = (found: ReturnType<typeof certified>) =>
  Math.min(...found.certificates.flatMap((c) => (c.report.holds && c.report.lambda !== null ? [c.report.lambda] : [])));

describe('default-initialised tanh RNNs, which the paper rejects', () => {
  it.each([16, 64, 128, 256])('%i units: λ ≤ 0.85', (units) => {
    const found = certified(uniformCell('rnn', units, 1, 8, units), input);
    const paper = found.certificates.find((c) => c.report.name === 'miller-hardt')!;
    expect(paper.report.holds).toBe(false);
    expect(paper.report.lambda).toBeGreaterThan(1);
    expect(smallest(found)).toBeLessThanOrEqual(0.85);
  });
});

describe('gated cells of 64 units with weights uniform in ±¼/√64', () => {
  it.each([
    ['lstm', 0.83],
    ['gru, reset after', 0.7],
    ['gru, reset before', 0.7],
  ] as const)('%s: λ ≤ %f', (kind, most) => {
    for (const seed of [1, 2, 3]) {
      const cell = uniformCell(kind, 64, 0.25, 8, seed);
      const found = certified(cell, input);
      expect(smallest(found)).toBeLessThanOrEqual(most);
      expect(finished(jacobianLowerBound(cell, input, found.bounds))).toBeLessThanOrEqual(smallest(found));
    }
  });
});

/** Strong weights below the diagonal, whose norm is large, and next to nothing above it. */
function nearlyTriangular(units: number, above: number): RnnCell {
  const random = new Random(units);
  const recurrent = matrix(
    units,
    units,
    Float64Array.from({ length: units * units }, (_, p) => {
      const [r, c] = [Math.floor(p / units), p % units];
      return r === c ? random.uniform(-0.8, 0.8) : (c < r ? 1 : above) * random.uniform(-1, 1);
    }),
  );
  return {
    kind: 'rnn',
    inputSize: 2,
    hiddenSize: units,
    clip: Infinity,
    gate: {
      input: matrix(units, 2, random.vector(2 * units)),
      recurrent,
      bias: new Float64Array(units),
      activation: activation('Tanh'),
    },
  };
}

it.each([
  [16, 1e-6],
  [64, 0],
  [64, 1e-18],
  [128, 0],
])('a nearly triangular RNN of %i units, %f above the diagonal, is certified', (units, above) => {
  const found = certified(nearlyTriangular(units, above), box(2, -1, 1));
  expect(found.certificates.find((c) => c.report.name === 'miller-hardt')!.report.lambda).toBeGreaterThan(3);
  expect(smallest(found)).toBeLessThanOrEqual(0.9);
});

it('a strictly triangular RNN forgets at any rate', () => {
  const cell = nearlyTriangular(12, 0);
  for (let j = 0; j < 12; j++) cell.gate.recurrent.data[j * 12 + j] = 0;
  expect(smallest(certified(cell, box(2, -1, 1)))).toBeLessThan(0.3);
});
