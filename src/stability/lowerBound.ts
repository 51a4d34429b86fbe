import { EigenvalueDecomposition, Matrix as DenseMatrix } from 'ml-matrix';
import { stateSize, type Cell } from '../network/cell.js';
import { step } from '../network/forward.js';
import { linearize } from '../network/linearization.js';
import type { Box } from './interval.js';

/** Above this state size the eigenvalues take too long for what they tell. */
const largestState = 192;

/**
 * A lower bound of every one-step contraction constant in a fixed norm: the spectral radius of the Jacobian at a reachable
 * state (docs/method.md, "A lower bound"). The states are those that constant inputs at the middle and the ends of the range settle in.
 * The eigenvalues are computed without a bound of their rounding, so the last digits are taken off.
 */
export function jacobianLowerBound(cell: Cell, input: Box): number | null {
  if (stateSize(cell) > largestState) return null;
  let bound = 0;
  for (const weight of [0, 0.5, 1]) {
    const x = input.lower.map((low, i) => low + weight * (input.upper[i]! - low));
    if (!x.every(Number.isFinite)) continue;
    let state: Float64Array = new Float64Array(stateSize(cell));
    for (let i = 0; i < 200; i++) state = step(cell, x, state);
    if (!state.every(Number.isFinite)) continue;
    const size = state.length;
    const jacobian = DenseMatrix.from1DArray(size, size, linearize(cell, x, state).jacobian().data);
    const { realEigenvalues, imaginaryEigenvalues } = new EigenvalueDecomposition(jacobian);
    for (const [i, real] of realEigenvalues.entries()) bound = Math.max(bound, Math.hypot(real, imaginaryEigenvalues[i]!));
  }
  return Math.max(0, bound * (1 - 1e-6) - 1e-9);
}
