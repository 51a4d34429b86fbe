import type { Matrix } from '../../network/matrix.js';
import { gamma, up } from '../rounding.js';
import { provePositiveDefinite } from './cholesky.js';
import { subtractGram } from './rowProducts.js';

/**
 * The symmetric matrix G = B (Σ_k M_kᵀ diag(a_k)² M_k) B, B = diag(b), that every diagonally weighted norm leads to: its largest
 * eigenvalue is the square of the operator norm of the stacked matrices diag(a_k) M_k from ‖·/b‖₂ to ‖·‖₂.
 */
export interface WeightedGram {
  /** Scale of the columns [n]. */
  readonly b: Float64Array;
  readonly terms: readonly GramTerm[];
}

export interface GramTerm {
  /** Null for the identity. */
  readonly matrix: Matrix | null;
  /** Scale of the rows. */
  readonly a: Float64Array;
}

/** G v, and for each term the rows of diag(a) M B v, whose squares say how much each row contributes to vᵀGv. */
export function applyGram({ b, terms }: WeightedGram, v: Float64Array): { product: Float64Array; rows: Float64Array[] } {
  const n = b.length;
  const scaled = v.map((x, i) => x * b[i]!);
  const product = new Float64Array(n);
  const rows = terms.map(({ matrix, a }) => {
    const y = new Float64Array(a.length);
    if (matrix) {
      accumulate(matrix, a, scaled, y, product);
    } else {
      for (let i = 0; i < n; i++) {
        y[i] = a[i]! * scaled[i]!;
        product[i] = product[i]! + a[i]! * y[i]!;
      }
    }
    return y;
  });
  for (let i = 0; i < n; i++) product[i] = product[i]! * b[i]!;
  return { product, rows };
}

/** y = diag(a) M x and out += Mᵀ diag(a) y, four rows at a time while they are in the cache. */
function accumulate({ rows, cols, data }: Matrix, a: Float64Array, x: Float64Array, y: Float64Array, out: Float64Array): void {
  const whole = rows - (rows % 4);
  for (let r = 0; r < whole; r += 4) {
    const p0 = r * cols;
    const p1 = p0 + cols;
    const p2 = p1 + cols;
    const p3 = p2 + cols;
    let s0 = 0;
    let s1 = 0;
    let s2 = 0;
    let s3 = 0;
    for (let c = 0; c < cols; c++) {
      const v = x[c]!;
      s0 += data[p0 + c]! * v;
      s1 += data[p1 + c]! * v;
      s2 += data[p2 + c]! * v;
      s3 += data[p3 + c]! * v;
    }
    y[r] = a[r]! * s0;
    y[r + 1] = a[r + 1]! * s1;
    y[r + 2] = a[r + 2]! * s2;
    y[r + 3] = a[r + 3]! * s3;
    s0 = a[r]! * y[r]!;
    s1 = a[r + 1]! * y[r + 1]!;
    s2 = a[r + 2]! * y[r + 2]!;
    s3 = a[r + 3]! * y[r + 3]!;
    for (let c = 0; c < cols; c++) {
      out[c] = out[c]! + s0 * data[p0 + c]! + s1 * data[p1 + c]! + s2 * data[p2 + c]! + s3 * data[p3 + c]!;
    }
  }
  for (let r = whole; r < rows; r++) {
    let sum = 0;
    for (let c = 0; c < cols; c++) sum += data[r * cols + c]! * x[c]!;
    y[r] = a[r]! * sum;
    sum = a[r]! * y[r]!;
    for (let c = 0; c < cols; c++) out[c] = out[c]! + sum * data[r * cols + c]!;
  }
}

/** How far above the estimate the proof is tried: each step costs one Cholesky factorisation, which large matrices take a second for. */
const marginsFor = (n: number) => (n <= 512 ? [1e-7, 1e-5, 1e-3, 1e-2, 0.1] : [2e-3, 2e-2, 0.2]);

/**
 * A proven upper bound of the largest eigenvalue of G: the smallest of a few values μ for which μI − G is proven positive
 * definite. The entries of a, b and M count as exact; T = diag(a) M B is rounded twice, and products over m rows by γ_m.
 * @param estimate of the largest eigenvalue
 * @yields the fraction done
 */
export function* largestEigenvalueBound({ b, terms }: WeightedGram, estimate: number): Generator<number, number> {
  const n = b.length;
  const negative = new Float64Array(n * n);
  let frobenius = 0;
  let depth = 0;
  for (const [k, { matrix, a }] of terms.entries()) {
    depth = Math.max(depth, a.length);
    if (matrix) {
      const columns = transposedScaled(matrix, a, b);
      for (const v of columns) frobenius += v * v;
      for (const done of subtractGram(negative, columns, n, matrix.rows)) yield (0.8 * (k + done)) / terms.length;
    } else {
      for (let i = 0; i < n; i++) {
        const square = (a[i]! * b[i]!) ** 2;
        negative[i * n + i] = negative[i * n + i]! - square;
        frobenius += square;
      }
    }
  }
  // The trace of G bounds its largest eigenvalue, should everything else fail.
  const trace = up(frobenius, n * depth);
  if (!(trace < Infinity)) return Infinity;
  const margins = marginsFor(n);
  const error = gamma(depth + 8) * terms.length * trace + gamma(terms.length + 4) * trace;
  for (const [i, margin] of margins.entries()) {
    const limit = Math.max(estimate, Number.MIN_VALUE) * (1 + margin);
    if (limit >= trace) break;
    const candidate = negative.slice();
    for (let j = 0; j < n; j++) candidate[j * n + j] = limit + candidate[j * n + j]!;
    // Adding the limit rounds once more, relative to the limit.
    const proof = provePositiveDefinite(candidate, n, error + 2 ** -52 * limit);
    for (;;) {
      const next = proof.next();
      if (next.done) {
        if (next.value) return limit;
        break;
      }
      yield 0.8 + 0.2 * ((i + next.value) / margins.length);
    }
  }
  return trace;
}

/** (diag(a) M B)ᵀ, whose rows are the columns of the product. */
function transposedScaled({ rows, cols, data }: Matrix, a: Float64Array, b: Float64Array): Float64Array {
  const out = new Float64Array(rows * cols);
  const tile = 32;
  for (let r0 = 0; r0 < rows; r0 += tile) {
    for (let c0 = 0; c0 < cols; c0 += tile) {
      for (let r = r0; r < Math.min(rows, r0 + tile); r++) {
        for (let c = c0; c < Math.min(cols, c0 + tile); c++) out[c * rows + r] = a[r]! * data[r * cols + c]! * b[c]!;
      }
    }
  }
  return out;
}
