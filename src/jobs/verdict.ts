import type { Diagnostic, StabilityReport, Verdict, WitnessReport } from '../report/report.js';
import { witnessOutcome } from '../report/witnessWords.js';
import { formatNumber } from '../report/format.js';
import { smallestLength } from '../stability/errorCurve.js';

/** Verdict, safe length and the sentences that explain them, from what was proven and measured. */
export interface Findings {
  readonly lambda: number;
  /** True where the range that certificates are for is that of the samples. */
  readonly rangeFromSamples: boolean;
  readonly certifiedHolds: boolean;
  /** Smallest k whose certified error is at most ε. */
  readonly certifiedLength: number | null;
  readonly epsilon: number;
  readonly maxLength: number;
  readonly statistical:
    | { kind: 'found'; k: number; sequences: number }
    | { kind: 'too-few'; sequences: number; needed: number }
    | { kind: 'not-reached'; sequences: number }
    | null;
  readonly quantile: number;
  readonly confidence: number;
  readonly measured: {
    k: readonly number[];
    worst: readonly number[];
    source: 'samples' | 'synthetic';
    sequences: number;
    windows: Int32Array;
  } | null;
  /** The checkpoint's fixed sequence length; null when it takes any. */
  readonly fixedLength: number | null;
  /** The state overflowed on an input of the stated range or of the samples. */
  readonly diverges: boolean;
  /** That some input is not forgotten. */
  readonly witness: WitnessReport | null;
}

/** True when the last half of the measured curve stays above ε without falling. */
function doesNotDecay(measured: NonNullable<Findings['measured']>, epsilon: number): boolean {
  const last = measured.worst[measured.worst.length - 1] ?? 0;
  const middle = measured.worst[Math.floor(measured.worst.length / 2)] ?? 0;
  return measured.worst.length >= 32 && last > epsilon && last > 0.8 * middle;
}

/** Motion that has not settled proves nothing if it was followed for fewer steps. */
const leastSteps = 1000;

/** True where the witness speaks against the whole model, and not of what only float64 shows. */
function provesInstability({ of, persistent, replay, common }: WitnessReport): boolean {
  if (of === 'layer') return false;
  return replay ? replay.staysApart : persistent || common.steps >= leastSteps;
}

export function decideVerdict(f: Findings): { verdict: Verdict; safeLength: StabilityReport['safeLength'] } {
  if (f.diverges) return { verdict: 'unstable', safeLength: null };
  // The whole sequence is a certified length too, but it says nothing about forgetting: samples may do better.
  const whole = f.certifiedLength !== null && f.certifiedLength === f.fixedLength;
  if (f.certifiedLength !== null && !(whole && f.statistical?.kind === 'found' && f.statistical.k < f.certifiedLength)) {
    return { verdict: f.certifiedHolds ? 'stable' : 'inconclusive', safeLength: { k: f.certifiedLength, basis: 'certified' } };
  }
  const statistical: StabilityReport['safeLength'] =
    f.statistical?.kind === 'found' && f.measured
      ? {
          k: f.statistical.k,
          basis: 'samples',
          confidence: f.confidence,
          quantile: f.quantile,
          windows: f.measured.windows[f.measured.k.indexOf(f.statistical.k)]!,
          sequences: f.statistical.sequences,
        }
      : null;
  if (f.certifiedHolds) return { verdict: 'stable', safeLength: statistical };
  // Samples speak of sequences like them, a witness of some input of the range: for the user's data the samples win.
  if (statistical) return { verdict: 'stable-on-data', safeLength: statistical };
  if (f.witness && provesInstability(f.witness)) return { verdict: 'unstable', safeLength: null };
  if (f.measured?.source === 'samples' && doesNotDecay(f.measured, f.epsilon)) return { verdict: 'unstable', safeLength: null };
  return { verdict: 'inconclusive', safeLength: null };
}

const percent = (share: number) => `${formatNumber(share * 100)} %`;

export function summarise(f: Findings, verdict: Verdict, safeLength: StabilityReport['safeLength']): string {
  const eps = formatNumber(f.epsilon);
  const range = f.rangeFromSamples ? 'the range of your samples' : 'the stated range';
  const full =
    f.fixedLength === null ? '' : ` The model takes exactly ${f.fixedLength} steps, so an export of that length is exact.`;
  switch (verdict) {
    case 'stable':
      if (safeLength?.basis === 'certified') {
        return `Certified stable: one step contracts by λ = ${formatNumber(f.lambda)} for every input of ${range}. The last ${safeLength.k} steps determine the output within ${eps}; a feed-forward model of that length may replace the recurrence.`;
      }
      return `Certified stable: one step contracts by λ = ${formatNumber(f.lambda)} for every input of ${range}, but the certified error needs more than ${f.maxLength} steps to fall to ${eps}. Raise the maximum length or ε.${full}`;
    case 'stable-on-data':
      return `Not certified for every input, but on your samples the last ${safeLength!.k} steps determine the output within ${eps} in at least ${percent(f.quantile)} of sequences (confidence ${percent(f.confidence)}, ${safeLength!.sequences} sequences). A feed-forward model of that length may replace the recurrence on such data.`;
    case 'unstable':
      if (f.diverges)
        return `The state grows without bound: it overflows on an input of ${range}. Do not replace the recurrence by a truncated model.${full}`;
      if (f.witness && provesInstability(f.witness)) return witnessSummary(f.witness, range) + onData(f);
      return `On your samples the error of truncation does not decay: old inputs keep mattering. Do not replace the recurrence by a truncated model.${full}`;
    case 'inconclusive': {
      if (safeLength?.basis === 'certified' && safeLength.k !== f.fixedLength) {
        return `No contraction constant below 1 was certified, but the error bound still falls: the last ${safeLength.k} steps determine the output within ${eps} for every input of ${range}.`;
      }
      // What the synthetic curve suggests: a measurement on made-up input, never called safe.
      const suggested = f.measured && smallestLength(f.measured.k, f.measured.worst, f.epsilon);
      const measured =
        f.measured?.source === 'synthetic'
          ? suggested === null
            ? ` On synthetic input the error stays above ${eps} up to k = ${f.measured.k[f.measured.k.length - 1] ?? 0}.`
            : ` On synthetic input the error falls below ${eps} at k = ${suggested}; that is a hint, not a guarantee.`
          : '';
      return `Not certified: no contraction constant below 1 was found for ${range}.${measured}${onData(f)}${full}`;
    }
  }
}

/** What the samples say, where they say nothing safe, or that there are none. */
function onData({ statistical, measured, epsilon, quantile, confidence }: Findings): string {
  switch (statistical?.kind) {
    case 'too-few':
      return ` Your ${statistical.sequences} sample sequences are too few for a statement about ${percent(quantile)} of sequences with confidence ${percent(confidence)}: ${statistical.needed} are needed, or a lower quantile.`;
    case 'not-reached':
      return ` On your samples no length up to ${measured?.k[measured.k.length - 1] ?? 0} keeps the error within ${formatNumber(epsilon)} in ${percent(quantile)} of sequences with confidence ${percent(confidence)}.`;
    default:
      return ' Give sample sequences of your data for an answer that holds for them.';
  }
}

function witnessSummary(witness: WitnessReport, range: string): string {
  const { steps, distance } = witnessOutcome(witness);
  const lasting = witness.persistent ? 'on attracting orbits, so the past matters for ever' : 'and the distance does not fall';
  return `Not stable: after two different histories, the same ${steps} steps of input leave the recurrent output ${formatNumber(distance)} apart, ${lasting}. No truncation length up to ${steps} is safe for every input of ${range}.`;
}

const severities: Record<Verdict, Diagnostic['severity']> = {
  stable: 'information',
  'stable-on-data': 'information',
  unstable: 'error',
  inconclusive: 'warning',
};

export function verdictDiagnostic(verdict: Verdict, summary: string): Diagnostic {
  return { code: verdict, severity: severities[verdict], message: summary };
}
