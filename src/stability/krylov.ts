import { EigenvalueDecomposition, Matrix as DenseMatrix, QrDecomposition, solve } from 'ml-matrix';

/**
 * Eigenvalues and linear equations of operators that are only known by their products with vectors, by the Arnoldi process
 * (Saad, "Numerical Methods for Large Eigenvalue Problems", chapter 6; "Iterative Methods for Sparse Linear Systems", 6.5).
 */
export type Operator = (v: Float64Array) => Float64Array;

const unit = 2 ** -53;

export function norm(v: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < v.length; i++) sum += v[i]! * v[i]!;
  return Math.sqrt(sum);
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

function addScaled(target: Float64Array, v: Float64Array, factor: number): void {
  for (let i = 0; i < target.length; i++) target[i] = target[i]! + factor * v[i]!;
}

interface Krylov {
  /** Orthonormal; one vector more than `steps` unless the space is invariant. */
  readonly basis: readonly Float64Array[];
  readonly steps: number;
  /** A V = V H: [steps + 1, steps]. */
  readonly hessenberg: DenseMatrix;
}

/** Orthonormal basis of span(v, A v, A² v, …); orthogonalised twice, which is enough. Null where A v is not finite or v is zero. */
function arnoldi(operator: Operator, start: Float64Array, steps: number): Krylov | null {
  const size = norm(start);
  if (!(size > 0) || !Number.isFinite(size)) return null;
  const basis = [start.map((v) => v / size)];
  const hessenberg = DenseMatrix.zeros(steps + 1, steps);
  let largest = 0;
  for (let j = 0; j < steps; j++) {
    const next = Float64Array.from(operator(basis[j]!));
    const before = norm(next);
    if (!Number.isFinite(before)) return null;
    largest = Math.max(largest, before);
    for (let pass = 0; pass < 2; pass++) {
      for (let i = 0; i <= j; i++) {
        const share = dot(next, basis[i]!);
        addScaled(next, basis[i]!, -share);
        hessenberg.set(i, j, hessenberg.get(i, j) + share);
      }
    }
    const rest = norm(next);
    // What is left is rounding: the space is invariant.
    if (rest <= 8 * unit * largest * Math.sqrt(next.length)) return { basis, steps: j + 1, hessenberg };
    hessenberg.set(j + 1, j, rest);
    basis.push(next.map((v) => v / rest));
  }
  return { basis, steps, hessenberg };
}

/** An approximate eigenvalue with its vector; the conjugate pair is meant where the imaginary part is not zero. */
export interface Eigenpair {
  readonly re: number;
  readonly im: number;
  /** Of Euclidean norm 1 as a complex vector. */
  readonly vectorRe: Float64Array;
  readonly vectorIm: Float64Array;
}

function combined(basis: readonly Float64Array[], coefficients: readonly number[]): Float64Array {
  const out = new Float64Array(basis[0]!.length);
  coefficients.forEach((c, i) => addScaled(out, basis[i]!, c));
  return out;
}

/** The Ritz pair that `score` likes best. */
function ritzPair({ basis, steps, hessenberg }: Krylov, score: (re: number, im: number) => number): Eigenpair | null {
  const small = hessenberg.subMatrix(0, steps - 1, 0, steps - 1);
  const decomposition = new EigenvalueDecomposition(small, { assumeSymmetric: false });
  const { realEigenvalues, imaginaryEigenvalues, eigenvectorMatrix } = decomposition;
  let best = -1;
  for (let i = 0; i < steps; i++) {
    // Of a conjugate pair the first, whose imaginary part is positive, carries the vector.
    if (imaginaryEigenvalues[i]! < 0 || !Number.isFinite(realEigenvalues[i]! + imaginaryEigenvalues[i]!)) continue;
    const better =
      best < 0 ||
      score(realEigenvalues[i]!, imaginaryEigenvalues[i]!) > score(realEigenvalues[best]!, imaginaryEigenvalues[best]!);
    if (better) best = i;
  }
  if (best < 0) return null;
  const im = imaginaryEigenvalues[best]!;
  const vectorRe = combined(basis, eigenvectorMatrix.getColumn(best));
  const vectorIm = im === 0 ? new Float64Array(vectorRe.length) : combined(basis, eigenvectorMatrix.getColumn(best + 1));
  const size = Math.hypot(norm(vectorRe), norm(vectorIm));
  if (!(size > 0) || !Number.isFinite(size)) return null;
  const scaled = (v: Float64Array) => v.map((x) => x / size);
  return { re: realEigenvalues[best]!, im, vectorRe: scaled(vectorRe), vectorIm: scaled(vectorIm) };
}

/** ‖A x − θ x‖ for the complex pair. */
function residual(operator: Operator, { re, im, vectorRe, vectorIm }: Eigenpair): number {
  const a = operator(vectorRe);
  const b = im === 0 ? null : operator(vectorIm);
  let sum = 0;
  for (let i = 0; i < a.length; i++) {
    const x = vectorRe[i]!;
    const y = vectorIm[i]!;
    sum += (a[i]! - (re * x - im * y)) ** 2 + ((b?.[i] ?? 0) - (re * y + im * x)) ** 2;
  }
  return Math.sqrt(sum);
}

export interface Effort {
  /** Products with the operator between two restarts. */
  readonly steps: number;
  readonly restarts: number;
  /** Restarting stops at this residual, relative to the eigenvalue. */
  readonly tolerance: number;
}

function converge(
  operator: Operator,
  start: Float64Array,
  effort: Effort,
  score: (re: number, im: number) => number,
): Eigenpair | null {
  let from = start;
  let pair: Eigenpair | null = null;
  for (let i = 0; i < effort.restarts; i++) {
    const krylov = arnoldi(operator, from, Math.min(effort.steps, start.length));
    const next = krylov && ritzPair(krylov, score);
    if (!krylov || !next) return pair;
    pair = next;
    if (krylov.basis.length === krylov.steps) break;
    if (i + 1 < effort.restarts && residual(operator, pair) <= effort.tolerance * Math.hypot(pair.re, pair.im)) break;
    from = pair.vectorRe.map((v, j) => v + next.vectorIm[j]!);
  }
  return pair;
}

/** An eigenvalue of largest modulus with both eigenvectors and a bound of its error. */
export interface DominantEigenvalue {
  readonly right: Eigenpair;
  /** z with Aᵀ z = θ z. */
  readonly left: Eigenpair;
  /** zᵀ x, without conjugation. */
  readonly overlap: { readonly re: number; readonly im: number };
  readonly modulus: number;
  /** How far |θ| may be from the modulus of an eigenvalue of A. */
  readonly error: number;
}

/**
 * A small residual alone shows an eigenvalue of a matrix near A, which for a strongly non-normal A can be far from any of its
 * own. Its distance from A's is at most about residual · κ, where κ = ‖z‖‖x‖ / |zᵀx| is the condition of the eigenvalue
 * (Wilkinson, "The Algebraic Eigenvalue Problem", chapter 2), so that is its error here, doubled, with what rounding adds.
 * @param start where the search for both vectors starts, not zero
 * @returns null where nothing was found
 */
export function dominantEigenvalue(
  operator: Operator,
  transposed: Operator,
  start: { right: Float64Array; left: Float64Array },
  effort: Effort,
): DominantEigenvalue | null {
  const right = converge(operator, start.right, effort, Math.hypot);
  if (!right) return null;
  const left = converge(transposed, start.left, effort, (re, im) => -Math.hypot(re - right.re, im - Math.abs(right.im)));
  if (!left) return null;
  const overlap = {
    re: dot(left.vectorRe, right.vectorRe) - dot(left.vectorIm, right.vectorIm),
    im: dot(left.vectorRe, right.vectorIm) + dot(left.vectorIm, right.vectorRe),
  };
  const condition = 1 / Math.hypot(overlap.re, overlap.im);
  const modulus = Math.hypot(right.re, right.im);
  const size = right.vectorRe.length;
  // The left vector gives the condition only if it belongs to the same eigenvalue.
  const apart = Math.hypot(left.re - right.re, left.im - right.im);
  const scale = Math.max(norm(operator(right.vectorRe)), norm(transposed(left.vectorRe)), modulus);
  const error = 2 * condition * (residual(operator, right) + 16 * size * unit * scale) + apart;
  return { right, left, overlap, modulus, error: Number.isNaN(error) ? Infinity : error };
}

/** Solution of A x = b with the smallest residual in the Krylov space (GMRES, without restarts); null where A b is not finite. */
export function solveKrylov(operator: Operator, b: Float64Array, steps: number, tolerance: number): Float64Array | null {
  const size = norm(b);
  if (size === 0) return new Float64Array(b.length);
  // The space is grown in a few stages, so that an easy equation costs few products.
  for (let m = Math.min(12, steps); ; m = Math.min(2 * m, steps)) {
    const krylov = arnoldi(operator, b, Math.min(m, b.length));
    if (!krylov) return null;
    const rows = krylov.basis.length;
    const h = krylov.hessenberg.subMatrix(0, rows - 1, 0, krylov.steps - 1);
    const right = DenseMatrix.zeros(rows, 1);
    right.set(0, 0, size);
    const qr = new QrDecomposition(h);
    const y = qr.isFullRank() ? qr.solve(right) : solve(h, right, true);
    const rest = DenseMatrix.sub(right, h.mmul(y)).norm();
    if (rest <= tolerance * size || m >= Math.min(steps, b.length) || krylov.steps < m)
      return combined(krylov.basis, y.getColumn(0));
  }
}
