import { describe, expect, it } from 'vitest';
import { activationNames } from '../../src/network/activation.js';
import { stateSize, type Cell } from '../../src/network/cell.js';
import { step } from '../../src/network/forward.js';
import { linearize } from '../../src/network/linearization.js';
import { product, transposed } from '../../src/network/matrix.js';
import { gruVariants, lstmVariants, randomGru, randomLstm, randomRnn, type CellShape } from '../support/cells.js';
import { Random } from '../support/random.js';

/** The derivatives of a step against central differences of the cell equations, and against one another. */

const makers: [string, (shape: CellShape, random: Random) => Cell][] = [
  ...activationNames.map((name): [string, (shape: CellShape, random: Random) => Cell] => [
    `RNN ${name}`,
    (shape, random) => randomRnn(name, shape, random),
  ]),
  ...lstmVariants.map((variant): [string, (shape: CellShape, random: Random) => Cell] => [
    `LSTM ${variant}`,
    (shape, random) => randomLstm(variant, shape, random),
  ]),
  ...gruVariants.map((variant): [string, (shape: CellShape, random: Random) => Cell] => [
    `GRU ${variant}`,
    (shape, random) => randomGru(variant, shape, random),
  ]),
];

const h = 1e-6;

/** The largest of the differences of the elements, relative to the size of what is compared. */
function deviation(a: Float64Array, b: Float64Array): number {
  const size = a.reduce((m, v) => Math.max(m, Math.abs(v)), 1);
  return a.reduce((m, v, i) => Math.max(m, Math.abs(v - b[i]!)), 0) / size;
}

const dot = (a: Float64Array, b: Float64Array) => a.reduce((sum, v, i) => sum + v * b[i]!, 0);
const moved = (at: Float64Array, by: Float64Array, factor: number) => at.map((v, i) => v + factor * by[i]!);

describe.each(makers)('%s', (_, make) => {
  it.each([1, 3, 6, 9])('of %i units: tangent, pullback and Jacobian are the derivative', (hidden) => {
    for (let seed = 0; seed < 12; seed++) {
      const random = new Random(9100 + 100 * hidden + seed);
      const shape = { hidden, input: random.int(1, 5), scale: random.logarithmic(0.3, 2), ...(seed % 4 === 3 && { clip: 0.7 }) };
      const cell = make(shape, random);
      const size = stateSize(cell);
      const x = random.vector(shape.input);
      const s = random.vector(size);
      const [ds, dx, w] = [random.vector(size), random.vector(shape.input), random.vector(size)];
      const derivative = linearize(cell, x, s);

      const up = step(cell, moved(x, dx, h), moved(s, ds, h));
      const down = step(cell, moved(x, dx, -h), moved(s, ds, -h));
      const difference = up.map((v, i) => (v - down[i]!) / (2 * h));
      const tangent = derivative.tangent(ds, dx);
      expect(deviation(tangent, difference), `seed ${seed}`).toBeLessThan(1e-7);

      // ⟨w, J v⟩ = ⟨Jᵀ w, v⟩, for state and input together.
      const input = new Float64Array(shape.input);
      const pulled = derivative.pullback(w, input);
      const scale = 1 + Math.abs(dot(w, tangent));
      expect(Math.abs(dot(w, tangent) - dot(pulled, ds) - dot(input, dx)) / scale).toBeLessThan(1e-12);
      expect(derivative.pullback(w)).toEqual(pulled);

      const jacobian = derivative.jacobian();
      expect(deviation(product(jacobian, ds), derivative.tangent(ds))).toBeLessThan(1e-13);
      expect(deviation(product(transposed(jacobian), w), pulled)).toBeLessThan(1e-13);
    }
  });
});

it('refuses a state of another size', () => {
  const cell = randomLstm('default', { hidden: 3, input: 2, scale: 1 }, new Random(1));
  expect(() => linearize(cell, new Float64Array(2), new Float64Array(3))).toThrow('a state of 6 numbers, not 3');
});
