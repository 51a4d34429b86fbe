import type { MeasuredCurve } from '../measurement/measuredCurve.js';
import type { StatisticalLength } from '../measurement/statisticalLength.js';
import type { Diagnostic, StabilityReport } from '../report/report.js';
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
        message: `${name} holds ${statistical.sequences} sequences; ${statistical.needed} are needed for the quantile ${options.quantile} with confidence ${options.confidence}. Give more sequences or ask for a lower quantile.`,
      },
    ];
  }
  return [];
}

/** The measured values at the lengths of the certified curve, as far as they reach. */
export function mergeCurves(
  curve: { k: number[]; bound: number[] | null },
  measured: MeasuredCurve | null,
  source: 'samples' | 'synthetic',
): StabilityReport['curve'] {
  const values = measured && new Map(measured.k.map((length, i) => [length, measured.worst[i]!]));
  const reached = values ? curve.k.findIndex((length) => !values.has(length)) : 0;
  return {
    k: curve.k,
    bound: curve.bound,
    measured: values && curve.k.slice(0, reached < 0 ? curve.k.length : reached).map((length) => values.get(length)!),
    measuredOn: measured && { source, sequences: measured.sequences, windows: measured.windows.reduce((a, b) => a + b, 0) },
  };
}
