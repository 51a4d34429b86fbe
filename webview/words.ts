import type { StabilityReport, Verdict } from '../src/report/report.js';
import { count, number, percent, plural, range } from './format.js';

/** The report's values as sentences. Pure, so the tests need no page. */

export const verdictTitles: Record<Verdict, string> = {
  stable: 'Stable',
  'stable-on-data': 'Stable on data',
  inconclusive: 'Inconclusive',
  unstable: 'Unstable',
};

/** What the verdict rests on, in one line. */
export const verdictMeanings: Record<Verdict, string> = {
  stable: 'Proven for every input in the range.',
  'stable-on-data': 'Measured on the samples; not proven for other inputs.',
  inconclusive: 'Neither a proof nor enough measured evidence.',
  unstable: 'An old input can matter for ever.',
};

export function safeLengthBasis({ safeLength, epsilon }: StabilityReport): string {
  if (safeLength === null) return `No length is known to keep the error below ε = ${number(epsilon)}.`;
  if (safeLength.basis === 'certified') return 'Certified: holds for every input in the range.';
  const { windows, sequences, confidence, quantile } = safeLength;
  const where = [
    windows === undefined ? '' : ` on ${plural(windows, 'window')}`,
    sequences === undefined ? '' : ` from ${plural(sequences, 'sequence')}`,
  ].join('');
  const promise =
    quantile === undefined || confidence === undefined
      ? ''
      : `: with ${percent(confidence)} confidence, at least ${percent(quantile)} of windows stay below ε`;
  return `Measured${where}${promise}.`;
}

export function inputRangeText({ inputRange }: StabilityReport): { value: string; source: string } {
  const sources = {
    derived: 'derived from the model’s graph',
    user: 'from the setting rnnStability.inputRange',
    samples: 'seen in the samples',
    default: 'assumed, because the graph does not bound it; set rnnStability.inputRange',
  };
  return { value: range(inputRange.lower, inputRange.upper), source: sources[inputRange.source] };
}

/** What the measured curve was measured on, in full; undefined without one. */
export function measuredOn({ curve }: StabilityReport): string | undefined {
  if (curve.measured === null || curve.measuredOn === null) return undefined;
  const { source, sequences, windows } = curve.measuredOn;
  const from = `${plural(windows, 'window')} from ${plural(sequences, 'sequence')}`;
  return source === 'samples' ? `Measured on ${from} of your samples.` : `Measured on ${from} of synthetic input, which promises nothing for real data.`;
}

/** The short name of the measured curve, where it is drawn. */
export function measuredLabel({ curve }: StabilityReport): string {
  return curve.measuredOn?.source === 'samples' ? 'measured, samples' : 'measured, synthetic';
}

/** What a screen reader says of the chart. */
export function curveSummary(report: StabilityReport): string {
  const { curve, epsilon, safeLength } = report;
  const last = curve.k.at(-1) ?? 0;
  const end = (name: string, values: number[] | null) =>
    values && values.length > 0 ? ` The ${name} falls from ${number(values[0]!)} to ${number(values.at(-1)!)}.` : '';
  const safe = safeLength ? ` ${safeLength.basis === 'certified' ? 'Certified' : 'Measured'} safe length: ${count(safeLength.k)}.` : '';
  return (
    `Error of the recurrent output after truncation to k steps, for k from 0 to ${last}, on a logarithmic axis. Allowed error ${number(epsilon)}.` +
    end('certified bound', curve.bound) +
    end(`error (${measuredLabel(report)})`, curve.measured) +
    safe
  );
}

export const cellNames = { rnn: 'RNN', lstm: 'LSTM', gru: 'GRU' } as const;

const certificateNames: Record<string, string> = {
  'miller-hardt': 'Miller–Hardt conditions',
  'comparison-operator': 'Comparison operator',
  'numerical-radius': 'Numerical radius',
  'block-metric': 'Block metric',
  'delta-iss': 'δISS conditions',
};

/** A later version's certificate is shown by its own name. */
export function certificateName(name: string): string {
  return certificateNames[name] ?? name;
}
