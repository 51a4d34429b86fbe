import type { Cell } from '../network/cell.js';
import { bilinearGradient, linearize, type Linearization, type StepPoint } from '../network/linearization.js';
import { dominantEigenvalue, type DominantEigenvalue, type Effort, type Operator } from './krylov.js';

/** The product J_p … J_1 of a cell's Jacobians at p points, as an operator. */
export interface JacobianProduct {
  readonly factors: readonly Linearization[];
  readonly apply: Operator;
  readonly transposed: Operator;
}

export function jacobianProduct(cell: Cell, points: readonly StepPoint[]): JacobianProduct {
  const factors = points.map(({ state, input }) => linearize(cell, input, state));
  return {
    factors,
    apply: (v) => factors.reduce((u, factor) => factor.tangent(u), v),
    transposed: (w) => factors.reduceRight((u, factor) => factor.pullback(u), w),
  };
}

/** Where the search for the eigenvectors starts: anything but a special direction. */
export function arbitraryVector(size: number): Float64Array {
  return Float64Array.from({ length: size }, (_, i) => 1 + Math.sin(12.9898 * (i + 1)));
}

/** The eigenvalue of largest modulus of J_p … J_1. */
export function dominantOf(
  product: JacobianProduct,
  size: number,
  effort: Effort,
  warm?: DominantEigenvalue | null,
): DominantEigenvalue | null {
  const start = warm
    ? { right: sum(warm.right.vectorRe, warm.right.vectorIm), left: sum(warm.left.vectorRe, warm.left.vectorIm) }
    : { right: arbitraryVector(size), left: arbitraryVector(size) };
  return dominantEigenvalue(product.apply, product.transposed, start, effort);
}

function sum(a: Float64Array, b: Float64Array): Float64Array {
  return a.map((v, i) => v + b[i]!);
}

/**
 * How |θ|, θ the dominant eigenvalue, grows as the points move: d|θ| = Re(α zᵀ dA x) with α = θ̄ / (|θ| zᵀx), and dA is a sum
 * over the factors, each of which is a bilinear form of its own Jacobian.
 * @returns one part per point
 */
export function modulusGradient(
  cell: Cell,
  points: readonly StepPoint[],
  { factors }: JacobianProduct,
  { right, left, overlap, modulus }: DominantEigenvalue,
): { state: Float64Array; input: Float64Array }[] {
  const size = modulus * (overlap.re ** 2 + overlap.im ** 2);
  const alpha = {
    re: (right.re * overlap.re - right.im * overlap.im) / size,
    im: -(right.re * overlap.im + right.im * overlap.re) / size,
  };
  const z = {
    re: left.vectorRe.map((v, i) => alpha.re * v - alpha.im * left.vectorIm[i]!),
    im: left.vectorRe.map((v, i) => alpha.re * left.vectorIm[i]! + alpha.im * v),
  };
  const real = chain(cell, points, factors, z.re, right.vectorRe);
  if (right.im === 0) return real;
  const imaginary = chain(cell, points, factors, z.im, right.vectorIm);
  return real.map((part, i) => ({
    state: part.state.map((v, j) => v - imaginary[i]!.state[j]!),
    input: part.input.map((v, j) => v - imaginary[i]!.input[j]!),
  }));
}

/** Gradient of zᵀ J_p … J_1 x. */
function chain(
  cell: Cell,
  points: readonly StepPoint[],
  factors: readonly Linearization[],
  z: Float64Array,
  x: Float64Array,
): { state: Float64Array; input: Float64Array }[] {
  const before = [x];
  for (const factor of factors.slice(0, -1)) before.push(factor.tangent(before[before.length - 1]!));
  const parts: { state: Float64Array; input: Float64Array }[] = [];
  let after = z;
  for (let i = points.length - 1; i >= 0; i--) {
    parts.unshift(bilinearGradient(cell, points[i]!, after, before[i]!));
    if (i > 0) after = factors[i]!.pullback(after);
  }
  return parts;
}
