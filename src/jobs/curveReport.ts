import type { MeasuredCurve } from '../measurement/measuredCurve.js';
import { quantileOf, type StatisticalLength } from '../measurement/statisticalLength.js';
import type { AlongData, Diagnostic, StabilityReport } from '../report/report.js';
import type { CheckOptions } from './jobs.js';

/** What the report says of a measured curve, whatever ran to measure it. */

export function sampleDiagnostics(
  statistical: StatisticalLength | null,
  options: CheckOptions,
  name: string | null,
  curve: MeasuredCurve | null,
): Diagnostic[] {
  if (!name) {
    return curve
      ? [
          {
            code: 'no-samples',
            severity: 'hint',
            message:
              'No samples were given: the measured curve is from synthetic sequences of the stated range. Put NAME.samples.npz beside the checkpoint or choose a samples file for a statement about your data.',
          },
        ]
      : [];
  }
  if (statistical?.kind === 'too-few') {
    return [
      {
        code: 'too-few-samples',
        severity: 'warning',
        message: `${name} holds ${statistical.sequences === 1 ? 'one sequence' : `${statistical.sequences} sequences`}; ${statistical.needed} are needed for the quantile ${options.quantile} with confidence ${options.confidence}. Give more sequences or ask for a lower quantile.`,
      },
    ];
  }
  return [];
}

/** How differences grow along the data: the largest Lyapunov exponent with its standard error, and what follows from it. */
export function growthReport(exponent: number, standardError: number): Omit<AlongData, 'source' | 'layers' | 'worstFound'> {
  const finite = (value: number) => (Number.isFinite(value) ? value : null);
  const lambda = Math.exp(exponent);
  return {
    lyapunovExponent: finite(exponent),
    lyapunovError: finite(standardError),
    lambda,
    effectiveMemory: lambda < 1 ? 1 / (1 - lambda) : null,
  };
}

/** The measured values at the lengths of the certified curve, as far as they reach. */
export function mergeCurves(
  curve: { k: number[]; bound: number[] | null },
  measured: MeasuredCurve | null,
  source: 'samples' | 'synthetic',
  quantile: number,
): StabilityReport['curve'] {
  if (!measured) return { k: curve.k, bound: curve.bound, measured: null, measuredOn: null };
  const slots = new Map(measured.k.map((length, i) => [length, i]));
  const missing = curve.k.findIndex((length) => !slots.has(length));
  const rows = curve.k.slice(0, missing < 0 ? curve.k.length : missing).map((length) => slots.get(length)!);
  const share = (q: number) => rows.map((i) => quantileOf(measured.perSequence[i]!, q));
  return {
    k: curve.k,
    bound: curve.bound,
    measured: rows.map((i) => measured.worst[i]!),
    band: { share: quantile, median: share(0.5), quantile: share(quantile) },
    worstAt: {
      sequence: rows.map((i) => measured.worstAt[i]!.sequence),
      position: rows.map((i) => measured.worstAt[i]!.position),
    },
    measuredOn: { source, sequences: measured.sequences, windows: measured.windows.reduce((a, b) => a + b, 0) },
  };
}
