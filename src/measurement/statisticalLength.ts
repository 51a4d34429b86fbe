import { clopperPearsonUpper, trialsNeeded } from '../stability/statistics.js';
import type { MeasuredCurve } from './measuredCurve.js';

export type StatisticalLength =
  | { readonly kind: 'found'; readonly k: number; readonly sequences: number }
  /** Too few sequences for the quantile, whatever they show. */
  | { readonly kind: 'too-few'; readonly sequences: number; readonly needed: number }
  | { readonly kind: 'not-reached'; readonly sequences: number };

/** The error that the share q of the sequences stays at or below. Sequences without a window (NaN) do not count. */
export function quantileOf(errors: Float64Array, q: number): number {
  const sorted = errors.filter((e) => !Number.isNaN(e)).sort();
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))]!;
}

/**
 * The smallest k for which, with the confidence asked for, at least the share `quantile` of all sequences keeps every
 * compared window's error at or below ε. The unit is the sequence, because windows of one sequence are not independent.
 * Lengths are tested from the longest down and the search stops at the first that fails: a fixed order of tests keeps the
 * confidence without dividing it among the lengths (fixed-sequence testing; Angelopoulos et al., arXiv:2110.01052, section 3).
 */
export function statisticalLength(
  curve: MeasuredCurve,
  epsilon: number,
  quantile: number,
  confidence: number,
): StatisticalLength {
  const needed = trialsNeeded(quantile, confidence);
  if (curve.sequences < needed) return { kind: 'too-few', sequences: curve.sequences, needed };
  let found: number | null = null;
  for (let i = curve.k.length - 1; i >= 0; i--) {
    const errors = curve.perSequence[i]!.filter((e) => !Number.isNaN(e));
    // Few sequences are long enough for the longest lengths; passing those over looks at no error, so it costs no confidence.
    if (errors.length < needed && found === null) continue;
    const failures = errors.reduce((n, e) => n + (e > epsilon ? 1 : 0), 0);
    if (clopperPearsonUpper(failures, errors.length, confidence) > 1 - quantile) break;
    found = curve.k[i]!;
  }
  return found === null
    ? { kind: 'not-reached', sequences: curve.sequences }
    : { kind: 'found', k: found, sequences: curve.sequences };
}
