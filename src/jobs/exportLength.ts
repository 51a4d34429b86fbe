import { BadInputError } from '../errors.js';
import { formatNumber } from '../report/format.js';
import type { StabilityReport } from '../report/report.js';
import type { Verification } from '../report/verification.js';
import { smallestLength } from '../stability/errorCurve.js';

/** How long an exported model's context is, and on what grounds. */

export interface Choice {
  readonly k: number;
  readonly basis: Verification['basis'];
}

/** A length that was asked for is as good as the safe one where the same proof or the same samples cover it. */
export function basisOf(report: StabilityReport, k: number): Choice['basis'] {
  const safe = report.safeLength;
  if (!safe || k < safe.k) return 'user';
  if (safe.basis === 'samples') return 'samples';
  return (boundAt(report, k) ?? Infinity) <= report.epsilon ? 'certified' : 'user';
}

/**
 * The length that the synthetic curve suggests where nothing better is known.
 * @throws BadInputError when it suggests none
 */
export function suggestedLength(report: StabilityReport): Choice {
  const { k: lengths, measured, measuredOn } = report.curve;
  const suggested = measured && measuredOn?.source === 'synthetic' ? smallestLength(lengths, measured, report.epsilon) : null;
  if (suggested !== null) return { k: Math.max(1, suggested), basis: 'synthetic' };
  throw new BadInputError(
    'no-safe-length',
    `no length up to ${report.curve.k[report.curve.k.length - 1] ?? 0} keeps the error below ${formatNumber(report.epsilon)}, certified or measured; ` +
      'state one with --length, allow a larger --epsilon, or raise --max-length',
  );
}

/**
 * Certified bound at k; null where the curve does not hold k. A shorter length's bound will not do: the curve can rise, since
 * it starts from the distance to the initial state, which two later states may exceed.
 */
export function boundAt(report: StabilityReport, k: number): number | null {
  const index = report.curve.k.indexOf(k);
  return index < 0 ? null : (report.curve.bound?.[index] ?? null);
}

export const basisInWords: Record<Verification['basis'], string> = {
  certified: 'certified',
  samples: 'measured on your samples',
  synthetic: 'measured on synthetic input only, no guarantee',
  full: 'the whole sequence, nothing truncated',
  user: 'as you asked',
};
