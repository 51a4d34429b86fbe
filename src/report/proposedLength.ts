import { smallestLength } from '../stability/errorCurve.js';
import type { StabilityReport } from './report.js';

/** A truncation length to offer, and why. */
export interface ProposedLength {
  length: number;
  /** `safe`: the report's own; `measured`: measured below epsilon, nothing promised; `longest`: nothing shorter was good enough. */
  basis: 'safe' | 'measured' | 'longest';
}

/** What to offer for an export: the safe length, else the shortest one measured below epsilon, else the longest one seen. */
export function proposedLength({ safeLength, curve, epsilon }: StabilityReport): ProposedLength {
  if (safeLength) return { length: Math.max(1, safeLength.k), basis: 'safe' };
  const measured = smallestLength(curve.k, curve.measured ?? [], epsilon);
  if (measured !== null) return { length: Math.max(1, measured), basis: 'measured' };
  return { length: Math.max(1, curve.k.at(-1) ?? 1), basis: 'longest' };
}
