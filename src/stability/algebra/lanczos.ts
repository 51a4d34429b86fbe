import { EigenvalueDecomposition, Matrix } from 'ml-matrix';

/** Estimates of extreme eigenvalues: always from inside the spectrum, so never a bound. Bounds are verified by Cholesky's algorithm. */

export interface Eigenpair {
  readonly value: number;
  /** Unit vector. */
  readonly vector: Float64Array;
}

export function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

/** y += factor · x. */
export function addScaled(y: Float64Array, factor: number, x: Float64Array): void {
  for (let i = 0; i < y.length; i++) y[i] = y[i]! + factor * x[i]!;
}

export function norm(a: Float64Array): number {
  return Math.sqrt(dot(a, a));
}

/** A unit vector without any symmetry, the same at every run. */
export function startVector(n: number): Float64Array {
  const v = Float64Array.from({ length: n }, (_, i) => 1 + 0.5 * Math.sin(12.9898 * (i + 1)) * Math.cos(78.233 * i));
  const size = norm(v);
  return v.map((x) => x / size);
}

/**
 * The largest eigenvalues of a symmetric operator, in falling order, by the Lanczos method with full reorthogonalisation.
 * @param start where to begin; the closer to the wanted eigenvectors, the fewer steps
 * @param steps dimension of the Krylov space, one product each
 * @param count how many pairs are wanted
 */
export function largestEigenpairs(
  apply: (v: Float64Array) => Float64Array,
  start: Float64Array,
  steps: number,
  count = 1,
): Eigenpair[] {
  const basis: Float64Array[] = [start];
  const diagonal: number[] = [];
  const beside: number[] = [];
  const dimension = Math.min(steps, start.length);
  for (let k = 0; k < dimension; k++) {
    const next = apply(basis[k]!);
    diagonal.push(dot(basis[k]!, next));
    for (let pass = 0; pass < 2; pass++) for (const b of basis) addScaled(next, -dot(b, next), b);
    const size = norm(next);
    // Without a new direction the Krylov space is invariant: its eigenvalues are eigenvalues of the operator.
    if (k === dimension - 1 || !(size > 1e-13 * Math.abs(diagonal[0]!))) break;
    beside.push(size);
    basis.push(next.map((v) => v / size));
  }
  const m = diagonal.length;
  const small = Matrix.diag(diagonal);
  for (let i = 0; i + 1 < m; i++) {
    small.set(i, i + 1, beside[i]!);
    small.set(i + 1, i, beside[i]!);
  }
  const { realEigenvalues, eigenvectorMatrix } = new EigenvalueDecomposition(small, { assumeSymmetric: true });
  const order = realEigenvalues.map((_, i) => i).sort((a, b) => realEigenvalues[b]! - realEigenvalues[a]!);
  return order.slice(0, count).map((column) => {
    const vector = new Float64Array(start.length);
    for (let i = 0; i < m; i++) addScaled(vector, eigenvectorMatrix.get(i, column), basis[i]!);
    const size = norm(vector);
    return { value: realEigenvalues[column]!, vector: vector.map((v) => v / size) };
  });
}
