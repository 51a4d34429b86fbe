import type { Activation } from '../network/activation.js';
import type { Matrix } from '../network/matrix.js';
import { functionError, gamma, underflow } from './rounding.js';

/** A box: elementwise lower and upper bounds, outward rounded. */
export interface Box {
  readonly lower: Float64Array;
  readonly upper: Float64Array;
}

export function box(size: number, lower = 0, upper = lower): Box {
  return { lower: new Float64Array(size).fill(lower), upper: new Float64Array(size).fill(upper) };
}

export function pointBox(values: Float64Array): Box {
  return { lower: Float64Array.from(values), upper: Float64Array.from(values) };
}

export function hull(a: Box, b: Box): Box {
  return { lower: a.lower.map((v, i) => Math.min(v, b.lower[i]!)), upper: a.upper.map((v, i) => Math.max(v, b.upper[i]!)) };
}

export function intersection(a: Box, b: Box): Box {
  return { lower: a.lower.map((v, i) => Math.max(v, b.lower[i]!)), upper: a.upper.map((v, i) => Math.min(v, b.upper[i]!)) };
}

export function contains(outer: Box, inner: Box): boolean {
  return inner.lower.every((v, i) => v >= outer.lower[i]! && inner.upper[i]! <= outer.upper[i]!);
}

export function isFinite(b: Box): boolean {
  return b.lower.every(Number.isFinite) && b.upper.every(Number.isFinite);
}

/** sup |v| for each element. */
export function magnitude(b: Box): Float64Array {
  return b.upper.map((v, i) => Math.max(Math.abs(v), Math.abs(b.lower[i]!)));
}

/** Diameter of each element. */
export function width(b: Box): Float64Array {
  return b.upper.map((v, i) => (v - b.lower[i]!) * (1 + 4 * functionError));
}

/** Bounds of the exact result of a few operations, whose rounding is relative to `scale`. */
function down(value: number, scale: number): number {
  return value - scale * functionError - underflow(4);
}

function above(value: number, scale: number): number {
  return value + scale * functionError + underflow(4);
}

/** Range of M v + offset for v in the box, with the rounding bounded by the sum of absolute values that is formed along the way. */
export function imageOf(m: Matrix, v: Box, offset?: Box): Box {
  const image = isFinite(v) ? finiteImage(m, v) : infiniteImage(m, v);
  const slack = 2 * gamma(m.cols + 4);
  const lost = underflow(2 * m.cols);
  const lower = new Float64Array(m.rows);
  const upper = new Float64Array(m.rows);
  for (let r = 0; r < m.rows; r++) {
    const oLow = offset?.lower[r] ?? 0;
    const oHigh = offset?.upper[r] ?? 0;
    const error = (image.size[r]! + Math.max(Math.abs(oLow), Math.abs(oHigh))) * slack + lost;
    lower[r] = image.lower[r]! + oLow - error;
    upper[r] = image.upper[r]! + oHigh + error;
  }
  return { lower, upper };
}

/** A box before its rounding was paid for, and the sum of absolute values that the rounding is relative to. */
interface RoundedImage extends Box {
  readonly size: Float64Array;
}

/** Centre and radius: M c ± |M| r, without a branch on the weights' signs, which nothing could predict. */
function finiteImage({ rows, cols, data }: Matrix, v: Box): RoundedImage {
  const centre = v.lower.map((low, i) => low / 2 + v.upper[i]! / 2);
  const radius = centre.map((c, i) => Math.max(v.upper[i]! - c, c - v.lower[i]!) * (1 + 2 ** -51));
  const largest = centre.map((c, i) => Math.abs(c) + radius[i]!);
  const lower = new Float64Array(rows);
  const upper = new Float64Array(rows);
  const size = new Float64Array(rows);
  const set = (r: number, middle: number, spread: number, sum: number) => {
    lower[r] = middle - spread;
    upper[r] = middle + spread;
    size[r] = sum;
  };
  // Two rows at a time: one sum alone would wait for each of its own additions.
  for (let r = 0; r < rows; r += 2) {
    const last = Math.min(r + 1, rows - 1);
    let middle0 = 0;
    let spread0 = 0;
    let sum0 = 0;
    let middle1 = 0;
    let spread1 = 0;
    let sum1 = 0;
    for (let c = 0, p = r * cols, q = last * cols; c < cols; c++, p++, q++) {
      const w0 = data[p]!;
      const w1 = data[q]!;
      const [at, reach, size] = [centre[c]!, radius[c]!, largest[c]!];
      middle0 += w0 * at;
      spread0 += Math.abs(w0) * reach;
      sum0 += Math.abs(w0) * size;
      middle1 += w1 * at;
      spread1 += Math.abs(w1) * reach;
      sum1 += Math.abs(w1) * size;
    }
    set(r, middle0, spread0, sum0);
    set(last, middle1, spread1, sum1);
  }
  return { lower, upper, size };
}

function infiniteImage({ rows, cols, data }: Matrix, v: Box): RoundedImage {
  const lower = new Float64Array(rows);
  const upper = new Float64Array(rows);
  const size = new Float64Array(rows);
  for (let r = 0, p = 0; r < rows; r++) {
    for (let c = 0; c < cols; c++, p++) {
      const w = data[p]!;
      // Skipped zeros keep 0 · ∞ out of the sums.
      if (w === 0) continue;
      const a = w * v.lower[c]!;
      const b = w * v.upper[c]!;
      lower[r] = lower[r]! + Math.min(a, b);
      upper[r] = upper[r]! + Math.max(a, b);
      size[r] = size[r]! + Math.max(Math.abs(a), Math.abs(b));
    }
  }
  return { lower, upper, size };
}

export function sumOf(a: Box, b: Box): Box {
  const [sizeA, sizeB] = [magnitude(a), magnitude(b)];
  const scale = (i: number) => sizeA[i]! + sizeB[i]!;
  return {
    lower: a.lower.map((v, i) => down(v + b.lower[i]!, scale(i))),
    upper: a.upper.map((v, i) => above(v + b.upper[i]!, scale(i))),
  };
}

/** Elementwise product. */
export function productOf(a: Box, b: Box): Box {
  const lower = new Float64Array(a.lower.length);
  const upper = new Float64Array(a.lower.length);
  for (let i = 0; i < lower.length; i++) {
    // An exactly zero factor times an infinite bound is 0.
    const ll = times(a.lower[i]!, b.lower[i]!);
    const lu = times(a.lower[i]!, b.upper[i]!);
    const ul = times(a.upper[i]!, b.lower[i]!);
    const uu = times(a.upper[i]!, b.upper[i]!);
    const low = Math.min(ll, lu, ul, uu);
    const high = Math.max(ll, lu, ul, uu);
    lower[i] = down(low, Math.abs(low));
    upper[i] = above(high, Math.abs(high));
  }
  return { lower, upper };
}

/** 0 · ∞ is 0: what does not exist is not enlarged. */
export function times(a: number, b: number): number {
  return a === 0 || b === 0 ? 0 : a * b;
}

/**
 * Range of w a + (1−w) b, elementwise. Linear in w, so an end of w attains the extremes; for weights in [0, 1] the result
 * also stays between a and b, which the rounded formula alone would not show.
 */
export function mixtureOf(w: Box, a: Box, b: Box): Box {
  const extreme = (weight: number, j: number, upper: boolean): number => {
    const pick = (factor: number, of: Box) => times(factor, factor >= 0 === upper ? of.upper[j]! : of.lower[j]!);
    return pick(weight, a) + pick(1 - weight, b);
  };
  const [sizeW, sizeA, sizeB] = [w, a, b].map(magnitude) as [Float64Array, Float64Array, Float64Array];
  const size = (j: number) => times(1 + sizeW[j]!, sizeA[j]! + sizeB[j]!);
  const convex = (j: number) => w.lower[j]! >= 0 && w.upper[j]! <= 1;
  return {
    lower: a.lower.map((al, j) => {
      const low = down(Math.min(extreme(w.lower[j]!, j, false), extreme(w.upper[j]!, j, false)), size(j));
      return convex(j) ? Math.max(low, Math.min(al, b.lower[j]!)) : low;
    }),
    upper: a.upper.map((ah, j) => {
      const high = above(Math.max(extreme(w.lower[j]!, j, true), extreme(w.upper[j]!, j, true)), size(j));
      return convex(j) ? Math.min(high, Math.max(ah, b.upper[j]!)) : high;
    }),
  };
}

/** Pre-activations after ONNX's `clip`. */
export function clipped(b: Box, clip: number): Box {
  if (clip === Infinity) return b;
  const limit = (v: number) => Math.min(clip, Math.max(-clip, v));
  return { lower: b.lower.map(limit), upper: b.upper.map(limit) };
}

/** Range of the value and of the slope of an activation on [low, high]. */
export function activationRange(
  act: Activation,
  low: number,
  high: number,
): { value: [number, number]; slope: [number, number] } {
  let minValue = Infinity;
  let maxValue = -Infinity;
  let minSlope = Infinity;
  let maxSlope = -Infinity;
  let jump = false;
  let previous: number | null = null;
  for (const piece of act.pieces) {
    if (piece.from > high || piece.to < low) continue;
    const from = Math.max(piece.from, low);
    const to = Math.min(piece.to, high);
    for (const x of [from, to]) {
      const value = piece.value(x);
      const slope = piece.slope(x);
      minValue = Math.min(minValue, value);
      maxValue = Math.max(maxValue, value);
      minSlope = Math.min(minSlope, slope);
      maxSlope = Math.max(maxSlope, slope);
    }
    if (previous !== null && Math.abs(piece.value(from) - previous) > 1e-9) jump = true;
    previous = piece.value(to);
  }
  const limits = valueLimits(act);
  const slack = (v: number) => Math.abs(v) * functionError + Number.MIN_VALUE;
  return {
    value: [Math.max(limits[0], minValue - slack(minValue)), Math.min(limits[1], maxValue + slack(maxValue))],
    slope: jump ? [-Infinity, Infinity] : [minSlope - slack(minSlope), maxSlope + slack(maxSlope)],
  };
}

/** Values that the exact function never leaves. */
function valueLimits(act: Activation): [number, number] {
  switch (act.name) {
    case 'Sigmoid':
    case 'HardSigmoid':
      return [0, 1];
    case 'Tanh':
    case 'Softsign':
      return [-1, 1];
    case 'Relu':
    case 'Softplus':
      return [0, Infinity];
    default:
      return [-Infinity, Infinity];
  }
}

export function activated(act: Activation, b: Box): Box {
  const lower = new Float64Array(b.lower.length);
  const upper = new Float64Array(b.lower.length);
  for (let i = 0; i < lower.length; i++) {
    [lower[i], upper[i]] = activationRange(act, b.lower[i]!, b.upper[i]!).value;
  }
  return { lower, upper };
}

/** sup |slope| for each element. */
export function slopeBound(act: Activation, b: Box): Float64Array {
  return b.lower.map((low, i) => {
    const [from, to] = activationRange(act, low, b.upper[i]!).slope;
    return Math.max(Math.abs(from), Math.abs(to));
  });
}
