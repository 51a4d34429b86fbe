import type { Matrix } from '../network/matrix.js';
import type { CellBounds } from './cellBounds.js';
import type { Metric } from './certificates/certificate.js';
import { subtractGram } from './algebra/rowProducts.js';
import { isFinite, pointBox, type Box } from './interval.js';
import { gamma, up } from './rounding.js';

/** How far inputs move a state, measured in a metric. All of a range's inputs at once move it by much less than the worst input of each unit would. */

/** One way by which the input reaches the next state: for states that can occur, |Δs′_j| ≤ Σ over all paths of share_j · |(M Δx)_{j mod H}|. */
export interface InputPath {
  /** [H, I] */
  readonly matrix: Matrix;
  /** Size of the state. */
  readonly share: Float64Array;
}

/** Multiplications that one path's Gram matrix may take; beyond that only the elementwise bound is used. */
const mostMultiplications = 3e7;

/** |Mᵀ diag(w)² M| as a square array, rounded outward. */
function absoluteGram({ rows, cols, data }: Matrix, squares: Float64Array): Float64Array {
  const columns = new Float64Array(cols * rows);
  for (let r = 0; r < rows; r++) {
    const w = Math.sqrt(squares[r]!);
    for (let c = 0; c < cols; c++) columns[c * rows + r] = w * data[r * cols + c]!;
  }
  const gram = new Float64Array(cols * cols);
  for (const run = subtractGram(gram, columns, cols, rows); !run.next().done;);
  // A sum of m products is off by γ_m of the sum of their sizes, which the diagonal bounds (Cauchy–Schwarz).
  const sizes = Float64Array.from({ length: cols }, (_, c) => Math.sqrt(Math.abs(gram[c * cols + c]!)));
  for (let r = 0; r < cols; r++) {
    for (let c = 0; c <= r; c++) {
      const value = up(Math.abs(gram[r * cols + c]!) + 2 * gamma(rows + 8) * sizes[r]! * sizes[c]!);
      gram[r * cols + c] = value;
      gram[c * cols + r] = value;
    }
  }
  return gram;
}

/**
 * sup ‖Φ(s, x) − Φ(s, x′)‖ over all states that can occur and inputs with |x − x′| ≤ change: the smaller of the elementwise bound's norm and
 * Σ over paths of sup ‖diag(w) M Δx‖₂ ≤ √(changeᵀ |Mᵀ diag(w)² M| change).
 */
export function inputEffect(bounds: CellBounds, metric: Metric): (change: Float64Array) => number {
  const { squares } = metric;
  const affordable = bounds.inputPaths.every(({ matrix: { rows, cols } }) => rows * cols * cols <= mostMultiplications);
  const grams =
    squares && affordable
      ? bounds.inputPaths.map(({ matrix, share }) => {
          const weights = new Float64Array(matrix.rows);
          share.forEach((v, j) => {
            const row = j % matrix.rows;
            weights[row] = up(weights[row]! + v * v * squares[j]!, 4);
          });
          return absoluteGram(matrix, weights);
        })
      : null;
  const zero = new Float64Array(bounds.state.lower.length);
  return (change) => {
    const elementwise = metric.sizeOf(bounds.compare(zero, change));
    if (!grams || !change.every(Number.isFinite)) return elementwise;
    const n = change.length;
    const joint = grams.reduce((total, gram) => {
      let square = 0;
      for (let r = 0; r < n; r++) {
        let row = 0;
        for (let c = 0; c < n; c++) row += gram[r * n + c]! * change[c]!;
        square += row * change[r]!;
      }
      return up(total + Math.sqrt(up(square, 2 * n + 4)));
    }, 0);
    // NaN where a share is infinite.
    return joint < elementwise ? joint : elementwise;
  };
}

/** sup ‖Φ(s, x) − s‖ over all inputs, for one state that can occur. */
export function departure(bounds: CellBounds, metric: Metric, state: Float64Array): number {
  const { input } = bounds;
  const anyInput = metric.sizeOf(farthest(bounds.image(pointBox(state)), state));
  if (!isFinite(input)) return anyInput;
  const middle = input.lower.map((v, i) => v / 2 + input.upper[i]! / 2);
  const toMiddle = metric.sizeOf(farthest(bounds.image(pointBox(state), pointBox(middle)), state));
  return Math.min(anyInput, up(toMiddle + inputEffect(bounds, metric)(farthest(input, middle))));
}

/** Largest distance of each element of a box from a point. */
export function farthest(box: Box, point: Float64Array): Float64Array {
  return box.upper.map((v, j) => Math.max(v - point[j]!, point[j]! - box.lower[j]!, 0) * (1 + 2 ** -50));
}
