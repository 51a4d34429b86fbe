import type { StabilityReport, StreamingReport, Verdict } from '../src/report/report.js';
import type { Verification } from '../src/report/verification.js';
import { bytes, count, number, percent, plural, range } from './format.js';

/** The report's values as sentences. Pure, so the tests need no page. */

export const verdictTitles: Record<Verdict, string> = {
  stable: 'Stable',
  'stable-on-data': 'Stable on data',
  inconclusive: 'Inconclusive',
  unstable: 'Unstable',
};

export function safeLengthBasis({ safeLength, epsilon, curve }: StabilityReport): string {
  if (safeLength === null) return `No length is known to keep the error below ε = ${number(epsilon)}.`;
  if (safeLength.basis === 'certified') {
    const isWhole = curve.bound?.[curve.k.indexOf(safeLength.k)] === 0;
    return isWhole
      ? 'The whole sequence that the model takes, so nothing is cut off.'
      : 'Certified: holds for every input in the range.';
  }
  const { windows, sequences, confidence, quantile } = safeLength;
  const where = [
    ...(sequences === undefined ? [] : [` on ${plural(sequences, 'sequence')}`]),
    ...(windows === undefined ? [] : [` (${plural(windows, 'window')})`]),
  ].join('');
  if (quantile === undefined || confidence === undefined) return `Measured${where}.`;
  return `Measured${where}: with ${percent(confidence)} confidence, at least ${percent(quantile)} of sequences stay within ε.`;
}

export function inputRangeText({ inputRange }: StabilityReport): { value: string; source: string } {
  const sources = {
    derived: 'derived from the model’s graph',
    user: 'from the setting rnnStability.inputRange',
    samples: 'seen in the samples, with a margin; certificates are conditional on it',
    default: 'assumed, because the graph does not bound it; set rnnStability.inputRange',
  };
  return { value: range(inputRange.lower, inputRange.upper), source: sources[inputRange.source] };
}

/** What the measured curve was measured on, in full; undefined without one. */
export function measuredOn({ curve }: StabilityReport): string | undefined {
  if (curve.measured === null || curve.measuredOn === null) return undefined;
  const { source, sequences, windows } = curve.measuredOn;
  const from = `${plural(windows, 'window')} from ${plural(sequences, 'sequence')}`;
  return source === 'samples'
    ? `Measured on ${from} of your samples.`
    : `Measured on ${from} of synthetic input, which promises nothing for real data.`;
}

/** Whose error the curve is. */
export function errorPlace({ at, streaming }: StabilityReport): string {
  return at === 'output' || streaming?.errorOf === 'outputs' ? 'the model’s own outputs' : 'the recurrent output';
}

/** The facts of a streaming model: name, value and note. */
export function streamingFacts({ frames, jacobian, cost, notCertified }: StreamingReport): [string, string, string][] {
  const facts: [string, string, string][] = frames.map(({ name, shape }) => [
    `One frame of ${name}`,
    `[${shape.join(', ')}]`,
    'What a call takes besides the state.',
  ]);
  if (notCertified !== null) facts.push(['Certificates', 'none for the stream', `${notCertified}.`]);
  if (jacobian) {
    facts.push([
      '‖∂s′/∂s‖',
      number(jacobian.oneStep),
      `Largest in one frame; ${number(jacobian.product)} over ${plural(jacobian.frames, 'frame')}. Measured by differences through the model, no bound.`,
    ]);
  }
  if (cost) {
    facts.push([
      `Without state, k = ${count(cost.k)}`,
      `${number(cost.statelessMilliseconds)} ms`,
      `For one answer, measured here; one call of the original takes ${number(cost.originalMilliseconds)} ms. Saves ${bytes(cost.stateBytes)} of state for every stream.`,
    ]);
  }
  return facts;
}

/** What the shaded band shows; undefined without one. */
export function bandText({ curve }: StabilityReport): string | undefined {
  if (!curve.band || curve.measured === null) return undefined;
  return `The shaded band reaches from the error that half of the sequences stay within to the one that ${percent(curve.band.share)} of them do; the dashed line is the worst of all.`;
}

/** Sequence and step, counted from 0, of the window behind a measured value. */
export function worstWindow({ curve }: StabilityReport, index: number): string | undefined {
  const sequence = curve.worstAt?.sequence[index];
  return sequence === undefined ? undefined : `sequence ${count(sequence)}, step ${count(curve.worstAt!.position[index]!)}`;
}

/** The facts along the data: name, value and note. */
export function dataFacts({ data }: StabilityReport): [string, string, string][] {
  if (!data) return [];
  const on = data.source === 'samples' ? 'On your samples' : 'On synthetic input, which promises nothing for real data';
  const exponent = data.lyapunovExponent;
  return [
    [
      'Lyapunov exponent',
      exponent === null ? 'none' : `${number(exponent)} ± ${number(data.lyapunovError)}`,
      `${on}: the mean log growth of a small difference in a step, with its standard error.`,
    ],
    ['λ along the data', number(data.lambda), 'What a difference is multiplied by in a step, on average. Measured, no bound.'],
    [
      'Effective memory',
      data.effectiveMemory === null ? 'none' : plural(Number(data.effectiveMemory.toPrecision(3)), 'step'),
      data.effectiveMemory === null ? 'Differences do not shrink.' : '1 / (1 − λ) along the data.',
    ],
    ...(data.worstFound
      ? [
          [
            `Worst found at k = ${count(data.worstFound.k)}`,
            number(data.worstFound.error),
            `By search within the input range; the data’s worst is ${number(data.worstFound.dataError)}. A worse window may exist.`,
          ] as [string, string, string],
        ]
      : []),
  ];
}

/** How much a truncation to this length is worth. */
export function promiseAt({ epsilon, safeLength }: StabilityReport, { bound }: { bound: number | null }, length: number): string {
  if (bound === 0) return 'exact, because it is the whole sequence';
  if (bound !== null && bound <= epsilon) return 'certified to stay within ε';
  if (safeLength?.basis === 'samples' && length >= safeLength.k) return 'measured to stay within ε on your samples';
  return 'with no guarantee at this length';
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
  const safe = safeLength
    ? ` ${safeLength.basis === 'certified' ? 'Certified' : 'Measured'} safe length: ${count(safeLength.k)}.`
    : '';
  return (
    `Error of ${errorPlace(report)} after truncation to k steps, for k from 0 to ${last}, on a logarithmic axis. Allowed error ${number(epsilon)}.` +
    end('certified bound', curve.bound) +
    end(`error (${measuredLabel(report)})`, curve.measured) +
    safe
  );
}

export const basisNames: Record<Verification['basis'], string> = {
  certified: 'certified',
  samples: 'measured on your samples',
  synthetic: 'measured on synthetic input, no guarantee',
  full: 'the whole sequence, nothing cut off',
  user: 'as you chose, no guarantee',
};

export const cellNames = { rnn: 'RNN', lstm: 'LSTM', gru: 'GRU' } as const;

const certificateNames: Record<string, string> = {
  'miller-hardt': 'Miller–Hardt',
  'delta-iss': 'δISS',
  'comparison-operator': 'Comparison operator',
  'scaled-spectral-norm': 'Scaled spectral norm',
  'numerical-radius': 'Numerical radius',
  'block-quadratic': 'Block quadratic form',
};

/** A later version's certificate is shown by its own name. */
export function certificateName(name: string): string {
  return certificateNames[name] ?? name;
}

export function normName(norm: string): string {
  return norm.includes('norm') ? norm : `${norm} norm`;
}
