import { functionError } from './rounding.js';

/**
 * Suprema of the sums that occur in the rows of the comparison operator, with all gates of a row taken at one point
 * instead of a product of separate maxima. All coefficients are non-negative. The maxima are exact up to rounding, because
 * each function is piecewise polynomial: it is evaluated at every point where its maximum can lie. Near a maximum the value
 * changes with the square of the error of that point, so a relative slack of a few units covers the evaluation.
 */
const slack = 1 + 32 * functionError;

/** True where a coefficient is unbounded: y(1−y)·∞ would be no number at y = 0 or 1. */
const unbounded = (...coefficients: number[]) => !coefficients.every(Number.isFinite);

const clamp = (x: number, low: number, high: number) => Math.min(high, Math.max(low, x));

/**
 * sup of y·a + y(1−y)·b for a logistic value y in [low, high]: the forget or reset gate, whose slope is y(1−y).
 */
export function logisticSum(low: number, high: number, a: number, b: number): number {
  if (unbounded(a, b)) return Infinity;
  // Concave; its vertex is at (1 + a/b)/2.
  const y = b > 0 ? clamp(0.5 * (1 + a / b), low, high) : high;
  return Math.max(0, y * a + y * (1 - y) * b, high * a + high * (1 - high) * b) * slack;
}

/** sup of y·a + (1−y)·n + y(1−y)·b for a logistic value y in [low, high]: the update gate of a GRU. */
export function logisticMix(low: number, high: number, a: number, n: number, b: number): number {
  if (unbounded(a, n, b)) return Infinity;
  const value = (y: number) => y * a + (1 - y) * n + y * (1 - y) * b;
  const vertex = b > 0 ? clamp(0.5 * (1 + (a - n) / b), low, high) : low;
  return Math.max(value(vertex), value(low), value(high)) * slack;
}

/**
 * sup of y(1−t²)·a + t·y(1−y)·b for a logistic value y in [yLow, yHigh] and a magnitude t of a tanh value in [tLow, tHigh]:
 * input gate and candidate, or output gate and tanh of the cell, with slopes y(1−y) and 1−t².
 */
export function logisticTanhProduct(yLow: number, yHigh: number, tLow: number, tHigh: number, a: number, b: number): number {
  if (unbounded(a, b)) return Infinity;
  // For a fixed y the best t is (1−y)·b/(2a), clamped; that gives three regimes in y.
  const bestT = (y: number) => (a > 0 ? clamp(((1 - y) * b) / (2 * a), tLow, tHigh) : tHigh);
  const value = (y: number) => {
    const t = bestT(y);
    return y * ((1 - t * t) * a + t * (1 - y) * b);
  };
  const points = [yLow, yHigh];
  if (b > 0) {
    // Borders of the regimes, and the vertex of y·((1−t²)a + t(1−y)b) for t held at either end.
    for (const t of [tLow, tHigh]) {
      points.push(1 - (2 * a * t) / b);
      if (t > 0) points.push(0.5 * (1 + ((1 - t * t) * a) / (t * b)));
    }
    // In between the function is a·y + κ·y(1−y)², κ = b²/4a, with slope a + κ(1−y)(1−3y).
    const root = 1 - 12 * (a / b) ** 2;
    if (root >= 0) for (const sign of [-1, 1]) points.push((2 + sign * Math.sqrt(root)) / 3);
  }
  let best = 0;
  // Coefficients near the smallest number make 0/0 of a vertex; all values are next to nothing then.
  for (const y of points) if (!Number.isNaN(y)) best = Math.max(best, value(clamp(y, yLow, yHigh)));
  return best * slack;
}
