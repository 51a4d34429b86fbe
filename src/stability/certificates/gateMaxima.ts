import { functionError } from '../rounding.js';

/**
 * Maxima of the sums of squares that occur when a unit's gates are taken at one point each, not at separate maxima. All
 * coefficients are non-negative. As in ../jointMaxima.ts each function is evaluated wherever its maximum can lie, and errs there by the square
 * of the rounding of that point.
 */
const slack = 1 + 64 * functionError;

const clamp = (x: number, low: number, high: number) => Math.min(high, Math.max(low, x));

/** The point y in [low, high] where y²(a + b(1−y)²) is largest. */
function logisticPeak(low: number, high: number, a: number, b: number): number {
  // The derivative is 2y·(2b y² − 3b y + a + b); its smaller root is the maximum, where there is one.
  const discriminant = 1 - (8 * a) / b;
  if (!(discriminant > 0)) return high;
  const peak = clamp((3 - Math.sqrt(discriminant)) / 4, low, high);
  const value = (y: number) => y * y * (a + b * (1 - y) * (1 - y));
  return value(peak) >= value(high) ? peak : high;
}

/** Maximum and where it is, by which the caller forms derivatives. */
export interface LogisticMaximum {
  value: number;
  y: number;
  t: number;
}

/**
 * sup of y²[(1−t)² a + t(1−y)² b] for a logistic value y in [low, high] and the square t of a tanh value in [tLow, tHigh]: the squares of
 * the two slopes y(1−t) and √t·y(1−y) of a product of both. Convex in t, so an end of t attains it.
 * @param into receives the result, so that a loop over thousands of units makes no garbage
 */
export function logisticTanhSquares(
  low: number,
  high: number,
  tLow: number,
  tHigh: number,
  a: number,
  b: number,
  into: LogisticMaximum,
): LogisticMaximum {
  into.value = 0;
  into.y = high;
  into.t = tLow;
  for (let end = 0; end < 2; end++) {
    const t = end === 0 ? tLow : tHigh;
    const first = (1 - t) * (1 - t) * a;
    const second = t * b;
    const y = logisticPeak(low, high, first, second);
    const value = y * y * (first + second * (1 - y) * (1 - y)) * slack;
    if (value > into.value) {
      into.value = value;
      into.y = y;
      into.t = t;
    }
  }
  return into;
}

/** sup of y² a + y²(1−y)² b: the forget or the reset gate and its slope. */
export function logisticSquares(low: number, high: number, a: number, b: number, into: LogisticMaximum): LogisticMaximum {
  const y = logisticPeak(low, high, a, b);
  into.y = y;
  into.t = 0;
  into.value = y * y * (a + b * (1 - y) * (1 - y)) * slack;
  return into;
}

/** sup of z² a + (1−z)² n + z²(1−z)² b for a logistic value z in [low, high]: the update gate of a GRU. */
export function mixtureSquares(
  low: number,
  high: number,
  a: number,
  n: number,
  b: number,
  into: LogisticMaximum,
): LogisticMaximum {
  const value = (z: number) => z * z * a + (1 - z) * (1 - z) * n + (z * (1 - z)) ** 2 * b;
  into.t = 0;
  into.y = value(low) > value(high) ? low : high;
  // With z = ½ + s the derivative is a multiple of s³ + p s + q; only the middle of three real roots is a maximum.
  const p = (a + n) / (2 * b) - 0.25;
  const q = (a - n) / (4 * b);
  if (p < 0 && 4 * p ** 3 + 27 * q * q < 0) {
    const angle = Math.acos(clamp(((3 * q) / (2 * p)) * Math.sqrt(-3 / p), -1, 1)) / 3;
    const z = clamp(0.5 + 2 * Math.sqrt(-p / 3) * Math.cos(angle - (2 * Math.PI) / 3), low, high);
    if (value(z) > value(into.y)) into.y = z;
  }
  into.value = value(into.y) * slack;
  return into;
}
