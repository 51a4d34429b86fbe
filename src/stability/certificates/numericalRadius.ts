import type { RnnCell } from '../../network/cell.js';
import type { Matrix } from '../../network/matrix.js';
import { cholesky, provePositiveDefinite, solveRows } from '../algebra/cholesky.js';
import { largestEigenpairs, norm as euclidean, startVector } from '../algebra/lanczos.js';
import { subtractGram } from '../algebra/rowProducts.js';
import type { RnnRanges } from '../rnn.js';
import { gamma, up } from '../rounding.js';
import { contractionCertificate, type CellCertificate, type Metric } from './certificate.js';
import { bestStart, descend } from './descent.js';

/**
 * Vanilla RNN with slopes in [0, L_j]. With D = diag(d) and A = D L R D⁻¹, every difference obeys Δw_j (Δv_j − Δw_j) ≥ 0 for v = L R h, so by the
 * S-procedure the map contracts by λ in the norm √(ΔᵀD X D Δ) if
 *   [[λ²X, −Aᵀ], [−A, 2I − X]] ⪰ 0,
 * which some X satisfies exactly if the numerical radius r(A) ≤ λ (Ando, "Structure of operators with numerical radius one", Acta Sci. Math. 1973):
 * r(A) = max_θ λ_max(Re e^{iθ}A) ≤ ‖A‖₂. D is found by descent on r, X by iterating X ← 2I − λ⁻²A X⁻¹Aᵀ from 2I, and the inequality
 * is then proven for the computed X, whatever its rounding.
 */

const name = 'numerical-radius';
const norm = 'full quadratic norm of h';

/** The matrix of slopes times weights, L R. */
function gainOf(cell: RnnCell, slope: Float64Array): Float64Array {
  const { data, cols } = cell.gate.recurrent;
  return data.map((v, p) => v * slope[Math.floor(p / cols)]!);
}

interface Rotation {
  readonly value: number;
  /** Real and imaginary part of the eigenvector of Re e^{iθ}A. */
  readonly real: Float64Array;
  readonly imaginary: Float64Array;
}

/** Numerical radius of A = D G D⁻¹, by Lanczos on Re e^{iθ}A for angles around the circle, each started where it was left. */
class NumericalRadius {
  private readonly n: number;
  private readonly starts: Float64Array[];

  constructor(
    private readonly gain: Matrix,
    private readonly angles: number,
  ) {
    this.n = gain.rows;
    this.starts = Array.from({ length: angles }, () => startVector(2 * this.n));
  }

  /** G z and Gᵀy of complex vectors (real part before imaginary part), in one pass over G. */
  private products(z: Float64Array, y: Float64Array): { forward: Float64Array; backward: Float64Array } {
    const { n } = this;
    const { data } = this.gain;
    const forward = new Float64Array(2 * n);
    const backward = new Float64Array(2 * n);
    for (let r = 0; r < n; r++) {
      const [yr, yi] = [y[r]!, y[n + r]!];
      let [real, imaginary] = [0, 0];
      for (let c = 0, p = r * n; c < n; c++, p++) {
        const w = data[p]!;
        real += w * z[c]!;
        imaginary += w * z[n + c]!;
        backward[c] = backward[c]! + w * yr;
        backward[n + c] = backward[n + c]! + w * yi;
      }
      forward[r] = real;
      forward[n + r] = imaginary;
    }
    return { forward, backward };
  }

  /** Re e^{iθ}A of a complex vector; A = D G D⁻¹ with D = diag(exp(logs)). */
  private hermitian(v: Float64Array, d: Float64Array, cosine: number, sine: number): Float64Array {
    const { n } = this;
    const scaled = (power: number) => v.map((x, i) => x * d[i % n]! ** power);
    const { forward, backward } = this.products(scaled(-1), scaled(1));
    const out = new Float64Array(2 * n);
    for (let j = 0; j < n; j++) {
      const [fr, fi] = [d[j]! * forward[j]!, d[j]! * forward[n + j]!];
      const [br, bi] = [backward[j]! / d[j]!, backward[n + j]! / d[j]!];
      out[j] = 0.5 * (cosine * (fr + br) - sine * (fi - bi));
      out[n + j] = 0.5 * (cosine * (fi + bi) + sine * (fr - br));
    }
    return out;
  }

  /**
   * Every angle's largest eigenvalue. A is real, so θ and −θ give the same and the upper half circle will do.
   * @param steps of the Lanczos method
   */
  rotations(d: Float64Array, steps: number): (Rotation & { angle: number })[] {
    return this.starts.map((start, i) => {
      const angle = (Math.PI * i) / (this.angles - 1);
      const [cosine, sine] = [Math.cos(angle), Math.sin(angle)];
      const { value, vector } = largestEigenpairs((v) => this.hermitian(v, d, cosine, sine), start, steps)[0]!;
      this.starts[i] = vector;
      return { angle, value, real: vector.subarray(0, this.n), imaginary: vector.subarray(this.n) };
    });
  }

  /** Softened log r with its gradient over log d. */
  slope(logs: Float64Array, steps: number): { value: number; gradient: Float64Array } {
    const { n } = this;
    const d = logs.map(Math.exp);
    const rotations = this.rotations(d, steps);
    const largest = Math.max(...rotations.map((r) => r.value));
    const weights = rotations.map((r) => Math.exp((r.value / largest - 1) / 0.01));
    const total = weights.reduce((a, b) => a + b, 0);
    const gradient = new Float64Array(n);
    for (const [i, { angle, real, imaginary }] of rotations.entries()) {
      if (weights[i]! < 1e-3 * total) continue;
      // d/d log d_j of Re(e^{iθ} z*A z) is Re e^{iθ}(z̄_j (Az)_j − conj((A*z)_j) z_j).
      const z = Float64Array.of(...real, ...imaginary);
      const { forward, backward } = this.products(
        z.map((x, k) => x / d[k % n]!),
        z.map((x, k) => x * d[k % n]!),
      );
      const [cosine, sine] = [Math.cos(angle), Math.sin(angle)];
      for (let j = 0; j < n; j++) {
        const [fr, fi] = [d[j]! * forward[j]!, d[j]! * forward[n + j]!];
        const [br, bi] = [backward[j]! / d[j]!, backward[n + j]! / d[j]!];
        const [zr, zi] = [z[j]!, z[n + j]!];
        const realPart = zr * fr + zi * fi - (br * zr + bi * zi);
        const imaginaryPart = zr * fi - zi * fr - (br * zi - bi * zr);
        gradient[j] = gradient[j]! + ((weights[i]! / total) * (cosine * realPart - sine * imaginaryPart)) / largest;
      }
    }
    return { value: Math.log(largest), gradient };
  }
}

/** An X whose inequality holds at λ, by the fixed-point iteration, or null where it leaves the positive definite matrices. */
function* solveForMetric(a: Float64Array, n: number, lambda: number): Generator<number, Float64Array | null> {
  let x = new Float64Array(n * n);
  for (let j = 0; j < n; j++) x[j * n + j] = 2;
  for (let i = 0; i < 60; i++) {
    const factor = x.slice();
    if (!(yield* cholesky(factor, n))) return null;
    const rows = a.map((v) => v / lambda);
    yield* solveRows(factor, n, rows, n);
    const next = new Float64Array(n * n);
    for (let j = 0; j < n; j++) next[j * n + j] = 2;
    yield* subtractGram(next, rows, n, n);
    let change = 0;
    for (let r = 0; r < n; r++)
      for (let c = 0; c <= r; c++) change = Math.max(change, Math.abs(next[r * n + c]! - x[r * n + c]!));
    x = next;
    // Half way to a fixed point is inside the inequality for a slightly larger λ, which is all that is needed.
    if (change < 1e-5) break;
  }
  return x;
}

/** Proves the matrix inequality for the given X (lower triangle) and A, both taken as exact but for the rounding of A's entries. */
function* inequalityHolds(x: Float64Array, a: Float64Array, n: number, lambda: number): Generator<number, boolean> {
  const size = 2 * n;
  const m = new Float64Array(size * size);
  let frobenius = 0;
  for (let r = 0; r < n; r++) {
    for (let c = 0; c <= r; c++) {
      const v = x[r * n + c]!;
      m[r * size + c] = lambda * lambda * v;
      m[(n + r) * size + n + c] = (r === c ? 2 : 0) - v;
      frobenius += 2 * v * v;
    }
    for (let c = 0; c < n; c++) {
      m[(n + r) * size + c] = -a[r * n + c]!;
      frobenius += a[r * n + c]! ** 2;
    }
  }
  // λ², λ²X, 2 − X and the three factors of A's entries are each rounded once.
  const error = gamma(8) * (up(Math.sqrt(frobenius), n * n) + 2);
  return yield* provePositiveDefinite(m, size, error);
}

/**
 * The norm √(dᵀ P d), P = D X D: X ⪯ 2I makes it at most √2 ‖D d‖₂, and |d_j| ≤ √((P⁻¹)_jj)‖d‖_P. The diagonal of X⁻¹ = L⁻ᵀL⁻¹ comes from the
 * columns of L⁻¹, whose rounding is relative to ‖L‖_F ‖L⁻¹‖ (Higham, sections 8.1 and 10.1); ‖L⁻¹‖ from a proven least eigenvalue of X.
 */
function* metricOf(x: Float64Array, n: number, d: Float64Array): Generator<number, Metric | null> {
  const factor = x.slice();
  if (!(yield* cholesky(factor, n))) return null;
  const inverse = new Float64Array(n * n);
  for (let j = 0; j < n; j++) inverse[j * n + j] = 1;
  yield* solveRows(factor, n, inverse, n);
  let trace = 0;
  for (let j = 0; j < n; j++) trace += x[j * n + j]!;
  // Row j of `inverse` is (L⁻¹ e_j)ᵀ.
  const columns = Float64Array.from({ length: n }, (_, j) => euclidean(inverse.subarray(j * n, (j + 1) * n)));
  let least = 0.5 / columns.reduce((sum, v) => sum + v * v, 0);
  for (let attempt = 0; ; attempt++) {
    const shifted = x.slice();
    for (let j = 0; j < n; j++) shifted[j * n + j] = shifted[j * n + j]! - least;
    if (yield* provePositiveDefinite(shifted, n, 2 ** -52 * 2)) break;
    if (attempt === 4) return null;
    least /= 16;
  }
  const relative = 4 * gamma(n + 8) * Math.sqrt(trace / least) * n + (4 * gamma(n + 8) * trace) / least;
  if (!(relative < 0.1)) return null;
  return {
    norm: (difference) => {
      const scaled = difference.map((v, j) => v * d[j]!);
      let sum = 0;
      for (let r = 0; r < n; r++) {
        for (let c = 0; c <= r; c++) sum += (r === c ? 1 : 2) * x[r * n + c]! * scaled[r]! * scaled[c]!;
      }
      return Math.sqrt(Math.max(0, sum));
    },
    // |m d| = |L⁻¹D⁻¹m · LᵀD d| ≤ ‖L⁻¹D⁻¹m‖₂ ‖d‖_P, solved for all rows at once.
    rowNorms: (matrix) => {
      const rows = matrix.data.map((v, p) => v / d[p % n]!);
      for (const run = solveRows(factor, n, rows, matrix.rows); !run.next().done;);
      return Float64Array.from({ length: matrix.rows }, (_, r) =>
        up(euclidean(rows.subarray(r * n, (r + 1) * n)) * (1 + relative), n),
      );
    },
    // X ⪯ 2I.
    squares: d.map((v) => up(2 * v * v, 4)),
    reach: columns.map((v, j) => up((v / d[j]!) * (1 + relative), n)),
    sizeOf: (bound) => {
      let sum = 0;
      for (let j = 0; j < n; j++) sum += (bound[j]! * d[j]!) ** 2;
      return up(Math.sqrt(2 * sum), n);
    },
  };
}

/**
 * @param weights of the comparison operator's best max-norm
 * @yields the fraction done
 */
export function* numericalRadius(
  cell: RnnCell,
  { slope, monotone }: RnnRanges,
  weights: Float64Array,
): Generator<number, CellCertificate | null> {
  if (!monotone) return null;
  const none = contractionCertificate(name, norm, Infinity, null);
  if (!slope.every(Number.isFinite)) return none;
  const n = cell.hiddenSize;
  const gain: Matrix = { rows: n, cols: n, data: gainOf(cell, slope) };
  if (gain.data.every((v) => v === 0)) return none;
  const radius = new NumericalRadius(gain, n <= 256 ? 17 : 9);
  const slopeAt = (logs: Float64Array) => radius.slope(logs, n <= 256 ? 12 : 6);
  const start = bestStart(weights, (logs) => slopeAt(logs).value);
  const run = descend(start, 40 * n * n, slopeAt);
  let next = run.next();
  while (!next.done) {
    yield 0.3 * next.value;
    next = run.next();
  }
  const d = next.value.map(Math.exp);
  // A nilpotent matrix has scales for every λ above zero; a smaller one than this is of no use.
  const r = Math.max(1e-6, ...new NumericalRadius(gain, 33).rotations(d, 24).map((rotation) => rotation.value));
  if (!(r < 1)) return contractionCertificate(name, norm, r, null);
  const a = gain.data.map((v, p) => (d[Math.floor(p / n)]! * v) / d[p % n]!);
  // A little above the radius the iteration converges fast, and X is well conditioned.
  for (const margin of [0.002, 0.01, 0.04]) {
    const lambda = r * (1 + margin);
    if (lambda >= 1) break;
    const x = yield* solveForMetric(a, n, lambda);
    if (!x) continue;
    for (const room of [1e-6, 1e-4, 1e-2]) {
      const claimed = lambda * (1 + room);
      if (claimed >= 1 || !(yield* inequalityHolds(x, a, n, claimed))) continue;
      const metric = yield* metricOf(x, n, d);
      if (metric) return contractionCertificate(name, norm, claimed, metric);
    }
  }
  return contractionCertificate(name, norm, r, null);
}
