import type { Matrix } from '../network/matrix.js';
import { largestEigenpairs, startVector } from './algebra/lanczos.js';
import { applyGram, largestEigenvalueBound, type WeightedGram } from './algebra/weightedGram.js';
import { up } from './rounding.js';

/** Steps of the Lanczos method for an estimate that the proof need not exceed by much. */
const lanczosSteps = (n: number) => (n <= 512 ? 60 : 20);

/** W with its entries brought to the order of one by a power of two, which is exact and keeps squares in range. */
function scaledGram(w: Matrix): { gram: WeightedGram; scale: number } {
  let largest = 0;
  for (const v of w.data) largest = Math.max(largest, Math.abs(v));
  const scale = largest > 0 && Number.isFinite(largest) ? 2 ** -Math.floor(Math.log2(largest)) : 1;
  return {
    scale,
    gram: { b: new Float64Array(w.cols).fill(1), terms: [{ matrix: w, a: new Float64Array(w.rows).fill(scale) }] },
  };
}

/** ‖W‖₂ from below, by the Lanczos method on WᵀW. */
export function spectralNormEstimate(w: Matrix): number {
  const { gram, scale } = scaledGram(w);
  const [largest] = largestEigenpairs((v) => applyGram(gram, v).product, startVector(w.cols), lanczosSteps(w.cols));
  return Math.sqrt(Math.max(0, largest!.value)) / scale;
}

/**
 * A proven upper bound of ‖W‖₂: a Cholesky factorisation proves μ(1 + margin)I − WᵀW positive definite in spite of rounding, μ the square
 * of the estimate (S. M. Rump, "Verification of positive definiteness", BIT 2006).
 * @yields the fraction done
 */
export function* spectralNormBound(w: Matrix, estimate = spectralNormEstimate(w)): Generator<number, number> {
  const { gram, scale } = scaledGram(w);
  if (w.data.every((v) => v === 0)) return 0;
  return up(Math.sqrt(yield* largestEigenvalueBound(gram, (estimate * scale) ** 2)) / scale);
}
