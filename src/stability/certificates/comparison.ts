import type { CellBounds } from '../cellBounds.js';
import type { LayerBounds } from '../networkBounds.js';
import { contractionCertificate, weightedMaxNorm, type CellCertificate } from './certificate.js';

export const comparisonName = 'comparison-operator';

/** λ of a comparison operator in a weighted max-norm, with the weights that prove it. */
export interface WeightedNorm {
  /** sup over all differences of ‖T(d)‖ / ‖d‖ in the norm max_j |d_j| / weights_j: a certified Lipschitz constant of one step. */
  readonly lambda: number;
  readonly weights: Float64Array;
}

/** T is monotone and homogeneous, so |d| ≤ ‖d‖·w gives T(d) ≤ ‖d‖·T(w): any positive w certifies max_j T(w)_j / w_j (Collatz–Wielandt). */
export function lambdaInWeights(operator: (d: Float64Array) => Float64Array, weights: Float64Array): number {
  const image = operator(weights);
  let lambda = 0;
  for (let j = 0; j < image.length; j++) lambda = Math.max(lambda, image[j]! / weights[j]!);
  // One division is rounded; T itself is rounded upward already.
  return lambda * (1 + 2 ** -50);
}

const smallestWeight = 1e-9;

/**
 * The best weighted max-norm by power iteration towards the Perron vector. Every iterate certifies its own λ, so stopping
 * early costs tightness, never soundness.
 */
export function perronNorm(operator: (d: Float64Array) => Float64Array, size: number, iterations = 200): WeightedNorm {
  let weights = new Float64Array(size).fill(1);
  let best: WeightedNorm = { lambda: lambdaInWeights(operator, weights), weights };
  for (let i = 0; i < iterations; i++) {
    const image = operator(weights);
    const largest = image.reduce((a, b) => Math.max(a, b), 0);
    if (!(largest > 0) || largest === Infinity) break;
    // The average with the old weights damps cycles of period two; the floor keeps every weight positive.
    const next = image.map((v, j) => Math.max((v / largest + weights[j]!) / 2, smallestWeight));
    const lambda = lambdaInWeights(operator, next);
    const settled = Math.abs(best.lambda - lambda) < 1e-5 * best.lambda && i > 4;
    if (lambda < best.lambda) best = { lambda, weights: next };
    weights = next;
    if (settled) break;
  }
  return best;
}

/**
 * λ of a stack from the λ of its layers. Ordered from below, the operator of the whole is block-triangular: a layer's own
 * block contracts by its λ, and T is a supremum of linear maps, hence subadditive, so errors from below enter through a
 * finite operator M. In the norm max_l ‖e_l‖ / s^l the rate is at most max_l λ_l + ‖M‖/s, for any s: any rate above the worst
 * layer's is one for the stack. The 10⁻⁶ pays for a finite s.
 */
export function stackLambda(layers: readonly LayerBounds[], lambdas: readonly number[]): number {
  const worst = Math.max(...lambdas);
  if (layers.length === 1) return worst;
  const finite = layers.every((layer) => {
    const ones = (below: number) => new Float64Array(layers[below]!.output.lower.length).fill(1);
    const input = layer.inputDeviation?.(ones);
    if (!input) return true;
    return layer.directions.every((d) => d.compare(new Float64Array(d.state.lower.length), input).every(Number.isFinite));
  });
  return finite ? worst * (1 + 1e-6) : Infinity;
}

/** Up to this state size, for it takes about so many products. */
const largestResolvent = 512;
/** Squares of weights and of their inverses stay far from overflow and underflow. */
const largestWeight = 1e120;
const halvings = 14;

/**
 * Power iteration crawls where the operator is nearly triangular, and the weights then span many orders of magnitude. For any λ above
 * the spectral radius, w = 1 + T(w)/λ has a solution, found by iteration, and T(w) ≤ λw holds in it; λ is halved towards the least.
 */
function resolventNorm(operator: (d: Float64Array) => Float64Array, start: WeightedNorm): WeightedNorm {
  const size = start.weights.length;
  let best = start;
  let low = 0;
  for (let i = 0; i < halvings && low < best.lambda * (1 - 1e-3); i++) {
    // The root of the product would not come near a small radius from far above any faster.
    const lambda = (low + best.lambda) / 2;
    let weights: Float64Array = new Float64Array(size).fill(1);
    let found = false;
    for (let step = 0; step < size + 32 && !found; step++) {
      const image = operator(weights);
      if (!image.every((v) => v < largestWeight * lambda)) break;
      const ratio = image.reduce((m, v, j) => Math.max(m, v / weights[j]!), 0) * (1 + 2 ** -50);
      if (ratio < best.lambda) best = { lambda: ratio, weights };
      found = ratio <= lambda * (1 + 1e-4);
      weights = image.map((v) => 1 + v / lambda);
    }
    if (!found) low = lambda;
  }
  return best;
}

/** The best weighted max-norm of the comparison operator (../cellBounds.ts). */
export function comparisonNorm({ compare, state }: CellBounds): WeightedNorm {
  const operator = (d: Float64Array) => compare(d, null);
  const size = state.lower.length;
  const power = perronNorm(operator, size);
  return size <= largestResolvent ? resolventNorm(operator, power) : power;
}

export function comparisonCertificate(bounds: CellBounds, { lambda, weights } = comparisonNorm(bounds)): CellCertificate {
  return contractionCertificate(comparisonName, 'weighted max-norm', lambda, weightedMaxNorm(weights));
}
