import { imageOf, intersection, pointBox, productOf, type Box } from '../interval.js';
import type { Enclosure } from '../reachable.js';
import { gamma } from '../rounding.js';

/** States s with Σ_j ((s_j − centre_j) / scale_j)² ≤ radius². */
export interface Ellipsoid {
  /** Size [S]; the first H entries are h. */
  readonly centre: Float64Array;
  readonly scale: Float64Array;
  readonly radius: number;
}

/**
 * What an ellipsoid says about states and pre-activations: |row · (h − centre)| ≤ radius · ‖row ∘ scale‖₂, which for dense weights is about √H
 * times less than what the box around it says.
 * @param state a box that holds the reachable states too
 */
export function enclosureOf({ centre, scale, radius }: Ellipsoid, state: Box): Enclosure {
  const side = (sign: -1 | 1) =>
    centre.map((c, j) => {
      const reach = radius * scale[j]! * (1 + gamma(4));
      const value = c + sign * (reach + Math.abs(c) * 2 ** -50);
      return sign < 0 ? Math.max(value, state.lower[j]!) : Math.min(value, state.upper[j]!);
    });
  return {
    state: { lower: side(-1), upper: side(1) },
    share(matrix, factors) {
      const { rows, cols, data } = matrix;
      const hidden = pointBox(centre.subarray(0, cols));
      const image = imageOf(matrix, factors ? productOf(factors, hidden) : hidden);
      const weights = Float64Array.from({ length: cols }, (_, c) => {
        const factor = factors ? Math.max(Math.abs(factors.lower[c]!), Math.abs(factors.upper[c]!)) : 1;
        return (scale[c]! * factor) ** 2;
      });
      for (let r = 0; r < rows; r++) {
        let sum = 0;
        for (let c = 0, p = r * cols; c < cols; c++, p++) sum += data[p]! * data[p]! * weights[c]!;
        const reach = radius * Math.sqrt(sum) * (1 + 2 * gamma(cols + 16)) + Number.MIN_VALUE;
        image.lower[r] = image.lower[r]! - reach - Math.abs(image.lower[r]!) * 2 ** -50;
        image.upper[r] = image.upper[r]! + reach + Math.abs(image.upper[r]!) * 2 ** -50;
      }
      const hiddenBox = { lower: state.lower.subarray(0, cols), upper: state.upper.subarray(0, cols) };
      return intersection(image, imageOf(matrix, factors ? productOf(factors, hiddenBox) : hiddenBox));
    },
  };
}
