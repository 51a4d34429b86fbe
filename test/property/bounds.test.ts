import fc from 'fast-check';
import { Matrix as DenseMatrix, SVD } from 'ml-matrix';
import { describe, expect, it } from 'vitest';
import { activation, activationNames, type ActivationName } from '../../src/network/activation.js';
import { step } from '../../src/network/forward.js';
import { matrix, type Matrix } from '../../src/network/matrix.js';
import { activationRange, imageOf, mixtureOf, productOf, sumOf, type Box } from '../../src/stability/interval.js';
import { logisticMix, logisticSum, logisticTanhProduct } from '../../src/stability/jointMaxima.js';
import { millerHardtRnn } from '../../src/stability/certificates/millerHardt.js';
import { spectralNormBound } from '../../src/stability/spectralNorm.js';
import { finished } from '../../bench/support/cells.js';
import { randomRnn } from '../support/cells.js';
import { Random } from '../support/random.js';

const seed = 20180525;
const finite = (min: number, max: number) => fc.double({ min, max, noNaN: true, noDefaultInfinity: true });
const unit = finite(0, 1);
/** Zero, or any order of magnitude. */
const coefficient = fc.oneof(
  fc.constant(0),
  finite(-9, 9).map((e) => 10 ** e),
  finite(0, 10),
);
const ordered = (value: fc.Arbitrary<number>) =>
  fc.tuple(value, value).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);

/** Maximum on a rectangle: a dense grid, then ever finer grids around the best few points. */
function gridMaximum(f: (x: number, y: number) => number, x: readonly [number, number], y: readonly [number, number]): number {
  const cells = 24;
  const scan = ([x0, x1]: readonly [number, number], [y0, y1]: readonly [number, number]) => {
    const found: { x: number; y: number; value: number }[] = [];
    for (let i = 0; i <= cells; i++) {
      const px = i === cells ? x1 : x0 + ((x1 - x0) * i) / cells;
      for (let j = 0; j <= (y0 === y1 ? 0 : cells); j++) {
        const py = j === cells ? y1 : y0 + ((y1 - y0) * j) / cells;
        found.push({ x: px, y: py, value: f(px, py) });
      }
    }
    return found.sort((a, b) => b.value - a.value);
  };
  let best = -Infinity;
  for (const start of scan(x, y).slice(0, 5)) {
    let centre = start;
    let [dx, dy] = [(x[1] - x[0]) / cells, (y[1] - y[0]) / cells];
    for (let zoom = 0; zoom < 7; zoom++) {
      const near = (at: number, d: number, [low, high]: readonly [number, number]) =>
        [Math.max(low, at - d), Math.min(high, at + d)] as const;
      centre = scan(near(centre.x, dx, x), near(centre.y, dy, y))[0]!;
      [dx, dy] = [dx / 6, dy / 6];
    }
    best = Math.max(best, centre.value);
  }
  return best;
}

describe('joint maxima against a grid', () => {
  const check = (value: number, grid: number) => {
    // Numbers next to the smallest there is round by more than a relative error.
    expect(value).toBeGreaterThanOrEqual(grid * (1 - 1e-15) - 1e-320);
    expect(value).toBeLessThanOrEqual(Math.max(0, grid) * (1 + 1e-9) + 1e-320);
  };

  it('logisticSum', () => {
    const property = fc.property(ordered(unit), coefficient, coefficient, ([low, high], a, b) =>
      check(
        logisticSum(low, high, a, b),
        gridMaximum((y) => y * a + y * (1 - y) * b, [low, high], [0, 0]),
      ),
    );
    fc.assert(property, { seed, numRuns: 500 });
  });

  it('logisticMix', () => {
    const property = fc.property(ordered(unit), coefficient, coefficient, coefficient, ([low, high], a, n, b) =>
      check(
        logisticMix(low, high, a, n, b),
        gridMaximum((y) => y * a + (1 - y) * n + y * (1 - y) * b, [low, high], [0, 0]),
      ),
    );
    fc.assert(property, { seed, numRuns: 500 });
  });

  it('logisticTanhProduct', () => {
    const property = fc.property(ordered(unit), ordered(unit), coefficient, coefficient, (y, t, a, b) =>
      check(
        logisticTanhProduct(y[0], y[1], t[0], t[1], a, b),
        gridMaximum((p, q) => p * (1 - q * q) * a + q * p * (1 - p) * b, y, t),
      ),
    );
    fc.assert(property, { seed, numRuns: 500 });
  });

  it('say infinite, never “not a number”, for unbounded coefficients', () => {
    for (const y of [0, 0.5, 1]) {
      expect(logisticSum(y, y, 1, Infinity)).toBe(Infinity);
      expect(logisticMix(y, y, Infinity, 0, 1)).toBe(Infinity);
      expect(logisticTanhProduct(y, y, 0, 0, Infinity, Infinity)).toBe(Infinity);
    }
  });
});

describe('interval functions contain what they bound', () => {
  const parameter = fc.oneof(finite(0.05, 2), finite(-2, -0.05), fc.constant(1));
  const end = fc.oneof(finite(-3, 3), finite(-60, 60), fc.constantFrom(0, 1, -1, -Infinity, Infinity, 1e-300));
  const inside = (low: number, high: number, share: number) => {
    const [from, to] = [Math.max(low, -1e3), Math.min(high, 1e3)];
    return Math.min(high, Math.max(low, from + (to - from) * share));
  };

  it.each(activationNames)('value and slope of %s', (name: ActivationName) => {
    const property = fc.property(
      parameter,
      parameter,
      ordered(end),
      fc.array(unit, { minLength: 8, maxLength: 8 }),
      (alpha, beta, [low, high], shares) => {
        const act = activation(name, alpha, beta);
        const { value, slope } = activationRange(act, low, high);
        const points = [low, high, ...shares.map((s) => inside(low, high, s))];
        for (const x of points.filter(Number.isFinite)) {
          const y = act.value(x);
          expect(y, `value at ${x}`).toBeGreaterThanOrEqual(value[0]);
          expect(y, `value at ${x}`).toBeLessThanOrEqual(value[1]);
        }
        // By the mean value theorem every secant lies in the range of the slopes.
        for (const a of points) {
          for (const b of points) {
            if (!(b - a > 1e-6) || !Number.isFinite(b - a)) continue;
            const secant = (act.value(b) - act.value(a)) / (b - a);
            const rounding = (2 ** -50 * (Math.abs(act.value(a)) + Math.abs(act.value(b)))) / (b - a);
            expect(secant, `between ${a} and ${b}`).toBeGreaterThanOrEqual(slope[0] - rounding);
            expect(secant, `between ${a} and ${b}`).toBeLessThanOrEqual(slope[1] + rounding);
          }
        }
      },
    );
    fc.assert(property, { seed, numRuns: 300 });
  });

  /** Also next to zero, where products underflow. */
  const either = (size: number) => fc.oneof({ weight: 3, arbitrary: finite(-size, size) }, finite(-1e-322, 1e-322));
  const boxOf = (size: number) => fc.array(ordered(either(5)), { minLength: size, maxLength: size });
  const toBox = (ends: readonly (readonly [number, number])[]): Box => ({
    lower: Float64Array.from(ends, (e) => e[0]),
    upper: Float64Array.from(ends, (e) => e[1]),
  });
  const sample = (b: Box, random: Random) => b.lower.map((v, i) => inside(v, b.upper[i]!, random.pick([0, 1, random.next()])));
  const expectInside = (b: Box, v: Float64Array) =>
    v.forEach((x, i) => {
      expect(x).toBeGreaterThanOrEqual(b.lower[i]!);
      expect(x).toBeLessThanOrEqual(b.upper[i]!);
    });

  it('sums, products, mixtures and images of boxes', () => {
    const property = fc.property(
      boxOf(3),
      boxOf(3),
      boxOf(3),
      fc.array(either(3), { minLength: 6, maxLength: 6 }),
      fc.nat(),
      (p, q, r, entries, n) => {
        const [a, b, w] = [toBox(p), toBox(q), toBox(r)];
        const m = matrix(2, 3, Float64Array.from(entries));
        const random = new Random(n);
        for (let i = 0; i < 20; i++) {
          const [x, y, share] = [sample(a, random), sample(b, random), sample(w, random)];
          expectInside(
            sumOf(a, b),
            x.map((v, j) => v + y[j]!),
          );
          expectInside(
            productOf(a, b),
            x.map((v, j) => v * y[j]!),
          );
          expectInside(
            mixtureOf(w, a, b),
            x.map((v, j) => share[j]! * v + (1 - share[j]!) * y[j]!),
          );
          expectInside(
            imageOf(m, a),
            Float64Array.from([0, 1], (row) => [0, 1, 2].reduce((s, c) => s + m.data[row * 3 + c]! * x[c]!, 0)),
          );
        }
      },
    );
    fc.assert(property, { seed, numRuns: 300 });
  });
});

describe('the verified spectral norm', () => {
  const largestSingularValue = (m: Matrix) =>
    new SVD(DenseMatrix.from1DArray(m.rows, m.cols, m.data), { autoTranspose: true }).norm2;
  const expectTight = (m: Matrix) => {
    const truth = largestSingularValue(m);
    const bound = finished(spectralNormBound(m));
    // The SVD itself is right to a few units in the last place.
    expect(bound).toBeGreaterThanOrEqual(truth * (1 - 1e-13));
    expect(bound).toBeLessThanOrEqual(truth * (1 + 1e-5));
  };

  it('is above the largest singular value, by less than 10⁻⁵ of it, up to n = 64', () => {
    const random = new Random(6000);
    for (let i = 0; i < 60; i++) {
      const rows = random.int(1, 64);
      const cols = random.chance(0.5) ? rows : random.int(1, 64);
      const scale = random.logarithmic(1e-3, 1e3);
      expectTight(matrix(rows, cols, random.vector(rows * cols, -scale, scale)));
    }
  });

  it('also for identity, permutation, rank-one and triangular matrices, and far from 1', () => {
    const n = 64;
    const of = (entry: (r: number, c: number) => number) =>
      matrix(
        n,
        n,
        Float64Array.from({ length: n * n }, (_, i) => entry(Math.floor(i / n), i % n)),
      );
    expectTight(of((r, c) => (r === c ? 1 : 0)));
    expectTight(of((r, c) => (c === (r * 5 + 1) % n ? -1 : 0)));
    expectTight(of((r, c) => Math.sin(r) * Math.cos(c)));
    expectTight(of((r, c) => (c > r ? 1 : 0)));
    for (const size of [1e-250, 1e-30, 1e30, 1e250]) {
      const bound = finished(spectralNormBound(of((r, c) => (r === c ? size : 0))));
      expect(bound / size).toBeGreaterThanOrEqual(1);
      expect(bound / size).toBeLessThan(1 + 1e-5);
    }
    expect(finished(spectralNormBound(matrix(3, 3)))).toBe(0);
  });

  it('makes λ of the paper hold in the Euclidean norm', () => {
    const norm = (v: Float64Array) => Math.hypot(...v);
    for (let i = 0; i < 60; i++) {
      const random = new Random(6100 + i);
      const cell = randomRnn(
        random.pick(['Tanh', 'Sigmoid', 'Relu', 'Softsign', 'LeakyRelu', 'Elu', 'HardSigmoid', 'Softplus']),
        { hidden: random.int(1, 16), input: 2, scale: random.logarithmic(0.1, 3) },
        random,
      );
      const { lambda } = finished(millerHardtRnn(cell)).report;
      const n = cell.hiddenSize;
      const top = new SVD(DenseMatrix.from1DArray(n, n, cell.gate.recurrent.data)).rightSingularVectors.getColumn(0);
      for (let pair = 0; pair < 40; pair++) {
        const s = random.vector(n, -2, 2);
        const radius = random.logarithmic(1e-3, 1);
        // Along the first singular vector the matrix stretches most.
        const t = s.map((v, j) => v + radius * (pair % 2 ? top[j]! : random.uniform(-1, 1)));
        const x = random.vector(2, -2, 2);
        const after = norm(step(cell, x, s).map((v, j) => v - step(cell, x, t)[j]!));
        expect(after).toBeLessThanOrEqual(lambda! * norm(s.map((v, j) => v - t[j]!)) + 1e-13);
      }
    }
  });
});
