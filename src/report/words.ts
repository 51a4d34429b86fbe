import { formatNumber } from './format.js';
import type { StabilityReport } from './report.js';

/** Parts of a report in words, for the forms that people read. */

export const number = (value: number | null) => (value === null ? '–' : formatNumber(value));

export function rangeInWords(range: StabilityReport['inputRange']): string {
  const low = typeof range.lower === 'number' ? range.lower : Math.min(...range.lower);
  const high = typeof range.upper === 'number' ? range.upper : Math.max(...range.upper);
  const origin = { derived: 'derived from the graph', user: 'as you stated', samples: 'from your samples', default: 'assumed' }[
    range.source
  ];
  return `[${formatNumber(low)}, ${formatNumber(high)}] (${origin})`;
}

export function safeLengthInWords(report: StabilityReport): string {
  const safe = report.safeLength;
  if (!safe) return 'none';
  if (safe.basis === 'certified') return `k = ${safe.k} (certified for every input of the range)`;
  return `k = ${safe.k} (measured: ${safe.sequences} sequences, quantile ${safe.quantile}, confidence ${safe.confidence})`;
}

/** λ is a proof only below 1; above, it is just the best bound that was found. */
export function lambdaInWords({ lambda, lambdaLowerBound }: Pick<StabilityReport, 'lambda' | 'lambdaLowerBound'>): string {
  const certified =
    lambda === null
      ? 'no bound'
      : lambda < 1
        ? `${formatNumber(lambda)} certified`
        : `none below 1 certified (best bound ${formatNumber(lambda)})`;
  return lambdaLowerBound === null ? certified : `${certified}; no fixed norm gives less than ${formatNumber(lambdaLowerBound)}`;
}

/** The layers as a table, its header first. */
export function layerRows({ layers }: StabilityReport): string[][] {
  const rows = layers.map((layer) => {
    const holding = layer.certificates.filter((c) => c.holds).map((c) => c.name);
    const sizes = [String(layer.inputSize), String(layer.hiddenSize)];
    const bounds = [number(layer.lambda), number(layer.lambdaLowerBound)];
    return [layer.name, layer.cell, layer.direction, ...sizes, ...bounds, holding.join(', ') || 'none'];
  });
  return [['layer', 'cell', 'direction', 'input', 'hidden', 'λ bound', 'λ at least', 'certificates that hold'], ...rows];
}
