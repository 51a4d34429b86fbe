import type { Matrix } from '../network/matrix.js';
import { gamma } from './rounding.js';

/**
 * A verified upper bound of ‖W‖₂ by Gram iteration: ‖W‖₂ ≤ ‖(WᵀW)^(2^t)‖_F^(1/2^(t+1)), which overestimates by at most
 * n^(1/2^(t+2)). (Delattre, Barthélemy, Araujo, Allauzen, "Efficient bound of Lipschitz constant for convolutional layers
 * by Gram iteration", ICML 2023.) The distance δ of the computed power from the exact one is carried along:
 * squaring G with ‖A − G‖₂ ≤ δ gives ‖A² − fl(G²)‖₂ ≤ δ(2‖G‖_F + δ) + γ_n‖G‖_F², so ‖A‖₂ ≤ ‖G‖_F + δ at every level.
 */
export function spectralNormBound(w: Matrix, squarings = squaringsFor(w.cols)): number {
  const largest = w.data.reduce((a, v) => Math.max(a, Math.abs(v)), 0);
  if (largest === 0 || !Number.isFinite(largest)) return largest;
  // A power of two scales exactly, and keeps the squares of very small and very large weights in range.
  const scale = 2 ** Math.floor(Math.log2(largest));
  return scale * scaledNormBound({ ...w, data: w.data.map((v) => v / scale) }, squarings);
}

function scaledNormBound(w: Matrix, squarings: number): number {
  const n = w.cols;
  let gram = gramOf(w);
  let power = 2;
  // The norm is exp(logScale / power) · (‖G‖_F + δ)^(1/power).
  let logScale = 0;
  const first = frobenius(w.data);
  let delta = gamma(w.rows) * first * first;
  let best = Infinity;
  for (let t = 0; ; t++) {
    const norm = frobenius(gram);
    if (norm === 0) return first === 0 ? 0 : best === Infinity ? first : best;
    best = Math.min(best, Math.exp((logScale + Math.log(norm + delta)) / power) * (1 + 1e-14 * (1 + Math.abs(logScale) / power)));
    if (t === squarings) return best;
    const scaled = gram.map((v) => v / norm);
    delta = (delta / norm) * (1 + 4 * gamma(4)) + gamma(4);
    logScale = 2 * (logScale + Math.log(norm));
    gram = square(scaled, n);
    delta = (delta * (2 + delta) + gamma(n)) * (1 + gamma(8));
    power *= 2;
  }
}

/** Enough squarings for 0.4% above n = 64, fewer where n³ would take long: the bound stays a bound, only looser. */
function squaringsFor(n: number): number {
  return n <= 128 ? 10 : n <= 512 ? 8 : n <= 1024 ? 5 : 3;
}

function frobenius(data: Float64Array): number {
  let sum = 0;
  for (const v of data) sum += v * v;
  return Math.sqrt(sum) * (1 + gamma(data.length));
}

function gramOf(w: Matrix): Float64Array {
  const n = w.cols;
  const out = new Float64Array(n * n);
  for (let r = 0; r < w.rows; r++) {
    const row = w.data.subarray(r * n, (r + 1) * n);
    for (let i = 0; i < n; i++) {
      const a = row[i]!;
      if (a === 0) continue;
      for (let j = 0; j < n; j++) out[i * n + j] = out[i * n + j]! + a * row[j]!;
    }
  }
  return out;
}

/** G² of a symmetric matrix; both operands are read along rows. */
function square(g: Float64Array, n: number): Float64Array {
  const out = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    const target = out.subarray(i * n, (i + 1) * n);
    for (let k = 0; k < n; k++) {
      const a = g[i * n + k]!;
      if (a === 0) continue;
      const row = g.subarray(k * n, (k + 1) * n);
      for (let j = 0; j < n; j++) target[j] = target[j]! + a * row[j]!;
    }
  }
  return out;
}
