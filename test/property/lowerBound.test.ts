import { describe, expect, it } from 'vitest';
import { certified, finished } from '../../bench/support/cells.js';
import { activation } from '../../src/network/activation.js';
import { stateSize, type Cell, type RnnCell } from '../../src/network/cell.js';
import { linearize } from '../../src/network/linearization.js';
import { matrix } from '../../src/network/matrix.js';
import { boundCell } from '../../src/stability/cellBounds.js';
import { box, isFinite, pointBox, type Box } from '../../src/stability/interval.js';
import { jacobianLowerBound } from '../../src/stability/lowerBound.js';
import {
  gruVariants,
  lstmVariants,
  randomGru,
  randomInputBox,
  randomLstm,
  randomRnn,
  randomShape,
  shrunk,
} from '../support/cells.js';
import { largestModulus } from '../support/eigenvalues.js';
import { Random } from '../support/random.js';

/** The lower bound of contraction constants: below everything that is certified, and near what can be found by other means. */

function randomCell(shape: ReturnType<typeof randomShape>, random: Random): Cell {
  return random.pick([
    () => randomRnn(random.pick(['Tanh', 'Sigmoid', 'Relu', 'Softsign', 'Elu']), shape, random),
    () => randomLstm(random.pick(lstmVariants), shape, random),
    () => randomGru(random.pick(gruVariants), shape, random),
  ])();
}

const boundsOf = (cell: Cell, input: Box) => boundCell(cell, input, pointBox(new Float64Array(stateSize(cell))));
const lowerBound = (cell: Cell, input: Box, budget?: number) =>
  finished(jacobianLowerBound(cell, input, boundsOf(cell, input), budget));

function linearCell(rows: number, recurrent: readonly number[]): RnnCell {
  return {
    kind: 'rnn',
    inputSize: 1,
    hiddenSize: rows,
    clip: Infinity,
    gate: {
      input: matrix(rows, 1, new Float64Array(rows).fill(1)),
      recurrent: matrix(rows, rows, Float64Array.from(recurrent)),
      bias: new Float64Array(rows),
      activation: activation('Affine'),
    },
  };
}

describe('the lower bound', () => {
  it('is above no certified constant, for cells of every kind', () => {
    let compared = 0;
    let close = 0;
    for (let seed = 0; seed < 120; seed++) {
      const random = new Random(52_000 + seed);
      const cell = shrunk(randomCell(randomShape(random), random), random.pick([0.1, 0.3, 0.6]));
      const input = randomInputBox(cell.inputSize, random);
      const { certificates, bounds } = certified(cell, input);
      // Certificates hold on the states that the best of them leave reachable, so the bound is taken there too.
      const lower = finished(jacobianLowerBound(cell, input, bounds, 2e7));
      for (const { report } of certificates) {
        // The paper's LSTM condition is about a number of steps that it does not say.
        if (!report.holds || report.lambda === null || (report.name === 'miller-hardt' && cell.kind === 'lstm')) continue;
        compared++;
        if (lower > 0.9 * report.lambda) close++;
        expect(lower, `${report.name}, seed ${seed}`).toBeLessThanOrEqual(report.lambda);
      }
    }
    expect(compared).toBeGreaterThan(150);
    // A bound that were always far below could break nothing.
    expect(close).toBeGreaterThan(25);
  });

  it('is the spectral radius of a linear cell, in float64', () => {
    for (const w of [0.5, -0.9, 1, 1.7]) expect(lowerBound(linearCell(1, [w]), box(1, -1, 1))).toBeCloseTo(Math.abs(w), 10);
    const random = new Random(9);
    for (const n of [2, 5, 12]) {
      const recurrent = [...random.vector(n * n)];
      const radius = largestModulus([matrix(n, n, Float64Array.from(recurrent))]);
      const lower = lowerBound(linearCell(n, recurrent), box(1, -1, 1));
      expect(lower).toBeLessThanOrEqual(radius * (1 + 1e-12));
      expect(lower).toBeCloseTo(radius, 8);
    }
  });

  it('is not misled by a strongly non-normal matrix, whose norm says nothing of its spectral radius', () => {
    const linear = linearCell(2, [0, 400, 0.0025, 0]);
    const lower = lowerBound({ ...linear, gate: { ...linear.gate, activation: activation('Tanh') } }, box(1, -1, 1));
    expect(lower).toBeLessThanOrEqual(1);
    expect(lower).toBeGreaterThan(0.95);
  });

  it.each([1, 2, 3])('is near the largest of 20,000 random points for cells of %d units', (hidden) => {
    const shares: number[] = [];
    for (let seed = 0; seed < 24; seed++) {
      const random = new Random(53_000 + 100 * hidden + seed);
      const shape = { hidden, input: random.int(1, 2), scale: random.logarithmic(0.3, 3) };
      const cell = randomCell(shape, random);
      const input = randomInputBox(cell.inputSize, random);
      const { state, within } = boundsOf(cell, input);
      if (!isFinite(state) || within) continue;
      let largest = 0;
      for (let i = 0; i < 20_000 / hidden ** 2; i++) {
        const at = (b: Box) => b.lower.map((low, j) => random.uniform(low, b.upper[j]!));
        largest = Math.max(largest, largestModulus([linearize(cell, at(input), at(state)).jacobian()]));
      }
      if (largest > 1e-6) shares.push(lowerBound(cell, input) / largest);
    }
    expect(shares.length).toBeGreaterThan(12);
    shares.sort((a, b) => a - b);
    expect(shares[0]).toBeGreaterThan(0.93);
    expect(shares[Math.floor(shares.length / 2)]).toBeGreaterThan(1);
  });

  it('does not fall when more is spent', () => {
    for (let seed = 0; seed < 20; seed++) {
      const random = new Random(54_000 + seed);
      const cell = randomCell({ hidden: random.int(2, 16), input: 2, scale: random.logarithmic(0.3, 3) }, random);
      const input = randomInputBox(2, random);
      const bounds = [1e5, 1e6, 1e7, 1e8].map((budget) => lowerBound(cell, input, budget));
      for (const [i, value] of bounds.entries())
        if (i > 0) expect(value, `seed ${seed}`).toBeGreaterThanOrEqual(bounds[i - 1]! * 0.995);
    }
  });

  it('survives boxes without ends and states that overflow', () => {
    const wild = linearCell(2, [3, 1, 0, 2]);
    expect(lowerBound(wild, box(1, -1, 1))).toBeCloseTo(3, 6);
    expect(lowerBound(wild, { lower: Float64Array.of(-Infinity), upper: Float64Array.of(Infinity) })).toBeCloseTo(3, 6);
  });
});
