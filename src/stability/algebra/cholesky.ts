import { gamma } from '../rounding.js';
import { subtractRowProducts } from './rowProducts.js';

const blockSize = 64;

/**
 * Overwrites the lower triangle of a symmetric matrix by its Cholesky factor L, A = L Lᵀ.
 * @returns false when a pivot is not positive: A is not positive definite, as far as rounding lets it be seen
 * @yields the fraction done
 */
export function* cholesky(a: Float64Array, n: number): Generator<number, boolean> {
  for (let start = 0; start < n; start += blockSize) {
    const size = Math.min(blockSize, n - start);
    const left = { data: a, offset: start * n, stride: n };
    subtractRowProducts({ ...left, offset: start * n + start }, left, left, n - start, size, start);
    for (let i = start; i < n; i++) {
      const last = Math.min(i, start + size - 1);
      for (let j = start; j <= last; j++) {
        let sum = a[i * n + j]!;
        for (let k = start; k < j; k++) sum -= a[i * n + k]! * a[j * n + k]!;
        if (i !== j) a[i * n + j] = sum / a[j * n + j]!;
        else if (sum > 0 && sum < Infinity) a[i * n + i] = Math.sqrt(sum);
        else return false;
      }
    }
    const rest = 1 - (start + size) / n;
    yield 1 - rest * rest;
  }
  return true;
}

/**
 * Overwrites the rows of b by b L⁻ᵀ, which solves L xᵀ = bᵀ for every row.
 * @param b row-major, `rows` × n
 * @yields the fraction done
 */
export function* solveRows(l: Float64Array, n: number, b: Float64Array, rows: number): Generator<number, void> {
  for (let start = 0; start < n; start += blockSize) {
    const size = Math.min(blockSize, n - start);
    const factor = { data: l, offset: start * n, stride: n };
    subtractRowProducts({ data: b, offset: start, stride: n }, { data: b, offset: 0, stride: n }, factor, rows, size, start);
    for (let i = 0; i < rows; i++) {
      for (let j = start; j < start + size; j++) {
        let sum = b[i * n + j]!;
        for (let k = start; k < j; k++) sum -= b[i * n + k]! * l[j * n + k]!;
        b[i * n + j] = sum / l[j * n + j]!;
      }
    }
    yield (start + size) / n;
  }
}

/**
 * Proves that a symmetric matrix is positive definite, whatever the rounding. If Cholesky's algorithm completes on a
 * floating-point matrix S, then S + E = L Lᵀ with ‖E‖₂ ≤ γ_{n+1}/(1 − γ_{n+1}) · tr(S), in any order of summation (Rump, "Verification of
 * positive definiteness", BIT 2006; Higham, "Accuracy and Stability of Numerical Algorithms", theorem 10.3). So it is run on S = A − shift, with
 * a shift above that and above the distance of `a` from the matrix that is meant.
 * @param a lower triangle, row-major; overwritten by the factor of the shifted matrix
 * @param error bound on the spectral norm of the difference between `a` and the matrix whose definiteness is to be proven
 * @yields the fraction done
 */
export function* provePositiveDefinite(a: Float64Array, n: number, error: number): Generator<number, boolean> {
  let trace = 0;
  for (let i = 0; i < n; i++) {
    const d = a[i * n + i]!;
    if (!(d > 0)) return false;
    trace += d;
  }
  const shift = error * (1 + gamma(8)) + 2 * gamma(n + 4) * trace + n * Number.MIN_VALUE;
  if (!Number.isFinite(shift)) return false;
  // The subtraction rounds by one unit of the diagonal, which the factor 2 above has room for.
  for (let i = 0; i < n; i++) a[i * n + i] = a[i * n + i]! - shift;
  return yield* cholesky(a, n);
}
