import { describe, expect, it } from 'vitest';
import { finished } from '../../bench/support/cells.js';
import { stateSize, type Cell } from '../../src/network/cell.js';
import { step } from '../../src/network/forward.js';
import { boundCell, type CellBounds } from '../../src/stability/cellBounds.js';
import type { Metric } from '../../src/stability/certificates/certificate.js';
import { scaledEuclideanNorm } from '../../src/stability/certificates/certificate.js';
import { certificatesOf } from '../../src/stability/certificates/family.js';
import { departure, inputEffect } from '../../src/stability/inputEffect.js';
import { isFinite, pointBox, type Box } from '../../src/stability/interval.js';
import { gruVariants, lstmVariants, randomGru, randomInputBox, randomLstm, randomRnn, type CellShape } from '../support/cells.js';
import { drawnInside, pointIn } from '../support/certificateChecks.js';
import { Random } from '../support/random.js';

/** What inputs do to a state, against inputs at the corners of their range, climbed coordinate by coordinate. */

const makers: [string, (shape: CellShape, random: Random) => Cell][] = [
  ['RNN', (shape, random) => randomRnn('Tanh', shape, random)],
  ...lstmVariants.map((v): [string, (s: CellShape, r: Random) => Cell] => [`LSTM ${v}`, (s, r) => randomLstm(v, s, r)]),
  ...gruVariants.map((v): [string, (s: CellShape, r: Random) => Cell] => [`GRU ${v}`, (s, r) => randomGru(v, s, r)]),
];

/** The largest norm that moving single inputs to an end of their range leads to, from a random corner. */
function climbed(input: Box, size: (x: Float64Array) => number, random: Random): number {
  const x = input.lower.map((v, i) => random.pick([v, input.upper[i]!]));
  let best = size(x);
  for (let round = 0; round < 2; round++) {
    for (let i = 0; i < x.length; i++) {
      const before = x[i]!;
      x[i] = before === input.lower[i] ? input.upper[i]! : input.lower[i]!;
      const value = size(x);
      if (value > best) best = value;
      else x[i] = before;
    }
  }
  return best;
}

interface Bounded {
  readonly cell: Cell;
  readonly input: Box;
  readonly start: Float64Array;
  readonly bounds: CellBounds;
  readonly metrics: readonly Metric[];
}

function boundedCell(make: (shape: CellShape, random: Random) => Cell, seed: number): Bounded {
  const random = new Random(6100 + seed);
  const cell = make({ hidden: random.int(1, 12), input: random.int(1, 8), scale: random.logarithmic(0.05, 0.8) }, random);
  const input = randomInputBox(cell.inputSize, random);
  const start = new Float64Array(stateSize(cell));
  const found = finished(certificatesOf(cell, boundCell(cell, input, pointBox(start)), input, start));
  const contractions = found.certificates.flatMap((c) => c.contraction ?? []);
  const random1 = scaledEuclideanNorm(random.vector(start.length, 0.2, 3));
  return { cell, input, start, bounds: found.bounds, metrics: [random1, ...contractions.map((c) => c.metric)] };
}

const difference = (a: Float64Array, b: Float64Array) => a.map((v, i) => v - b[i]!);
const rounding = 1e-12;

describe.each(makers)('%s', (_, make) => {
  it('a change of the input moves no state further than claimed', () => {
    let near = 0;
    let compared = 0;
    for (let seed = 0; seed < 25; seed++) {
      const { cell, input, bounds, metrics } = boundedCell(make, seed);
      if (!isFinite(bounds.state)) continue;
      const random = new Random(seed);
      const width = input.upper.map((v, i) => v - input.lower[i]!);
      for (const metric of metrics) {
        const claimed = inputEffect(bounds, metric)(width);
        const s = drawnInside(bounds, pointIn(bounds.state, random));
        const worst = climbed(
          input,
          (x) => {
            const opposite = x.map((v, i) => (v === input.lower[i] ? input.upper[i]! : input.lower[i]!));
            return metric.norm(difference(step(cell, x, s), step(cell, opposite, s)));
          },
          random,
        );
        expect(worst, `seed ${seed}`).toBeLessThanOrEqual(claimed * (1 + rounding) + rounding);
        if (worst > 0.3 * claimed) near++;
        compared++;
      }
    }
    // A claim that is a few times too small would be seen.
    expect(compared).toBeGreaterThan(20);
    expect(near).toBeGreaterThan(compared / 20);
  });

  it('no input takes the start further in one step than claimed', () => {
    for (let seed = 0; seed < 25; seed++) {
      const { cell, input, start, bounds, metrics } = boundedCell(make, seed);
      if (!isFinite(bounds.state)) continue;
      for (const metric of metrics) {
        const claimed = departure(bounds, metric, start);
        const worst = climbed(input, (x) => metric.norm(difference(step(cell, x, start), start)), new Random(seed));
        expect(worst, `seed ${seed}`).toBeLessThanOrEqual(claimed * (1 + rounding) + rounding);
      }
    }
  });
});

it('many inputs at once move many units by less than the worst input of each would', () => {
  const random = new Random(6200);
  const cell = randomRnn('Tanh', { hidden: 64, input: 16, scale: 0.5 }, random);
  const input = { lower: new Float64Array(16).fill(-1), upper: new Float64Array(16).fill(1) };
  const bounds = boundCell(cell, input, pointBox(new Float64Array(64)));
  const metric = scaledEuclideanNorm(new Float64Array(64).fill(1));
  const two = new Float64Array(16).fill(2);
  expect(inputEffect(bounds, metric)(two)).toBeLessThan(0.7 * metric.sizeOf(bounds.compare(new Float64Array(64), two)));
});
