import { formatNumber } from './format.js';
import type { StabilityReport } from './report.js';
import {
  alongDataRows,
  errorPlace,
  lambdaInWords,
  layerRows,
  number,
  placeInWords,
  rangeInWords,
  safeLengthInWords,
  streamingRows,
} from './words.js';
import { witnessRows } from './witnessWords.js';

/** The report for a terminal. */

const titles: Record<StabilityReport['verdict'], string> = {
  stable: 'STABLE',
  'stable-on-data': 'STABLE ON YOUR DATA',
  unstable: 'UNSTABLE',
  inconclusive: 'INCONCLUSIVE',
};

const columns = 100;

/** Breaks a text at spaces so that lines hold at most `columns` characters; the lines after the first stand under `indent`. */
function wrap(text: string, indent: string, first = indent): string {
  const lines: string[] = [];
  let line = first;
  let isEmpty = true;
  for (const word of text.split(' ')) {
    if (!isEmpty && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = indent;
      isEmpty = true;
    }
    line += (isEmpty ? '' : ' ') + word;
    isEmpty = false;
  }
  return [...lines, line].join('\n');
}

/** Columns of equal width; what does not fit into the last one goes on below it. */
function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, c) => Math.max(...rows.map((row) => row[c]!.length)));
  return rows.map((row) => {
    const start =
      '  ' +
      row
        .slice(0, -1)
        .map((cell, c) => cell.padEnd(widths[c]!) + '  ')
        .join('');
    return wrap(row.at(-1)!, ' '.repeat(start.length), start).trimEnd();
  });
}

/** The measured error of a streaming model's outputs, where the curve itself is of something else. */
function outputCurve({ streaming }: StabilityReport): readonly number[] | null {
  return streaming?.errorOf === 'recurrent' ? streaming.outputMeasured : null;
}

/** Lengths worth a row: powers of two, the safe length, and the last. */
function curveRows(report: StabilityReport): string[][] {
  const { k, bound, measured, band, worstAt } = report.curve;
  const outputError = outputCurve(report);
  const measuredHeader = report.curve.measuredOn ? `measured (${report.curve.measuredOn.source})` : 'measured';
  const shares = band ? [`${formatNumber(band.share * 100)} % of sequences`, 'half of them'] : [];
  const rows: string[][] = [
    [
      'k',
      'error bound',
      measuredHeader,
      ...shares,
      ...(worstAt ? ['worst window'] : []),
      ...(outputError ? ['at the outputs'] : []),
    ],
  ];
  k.forEach((length, i) => {
    const shown = length === 0 || Number.isInteger(Math.log2(length)) || length === report.safeLength?.k || i === k.length - 1;
    if (!shown) return;
    const shares = band ? [number(band.quantile[i] ?? null), number(band.median[i] ?? null)] : [];
    const place = worstAt ? [placeInWords(report, i)] : [];
    const outputs = outputError ? [number(outputError[i] ?? null)] : [];
    rows.push([String(length), number(bound?.[i] ?? null), number(measured?.[i] ?? null), ...shares, ...place, ...outputs]);
  });
  return rows;
}

export function textReport(report: StabilityReport): string {
  const lines = [
    report.file,
    `  ${titles[report.verdict]}`,
    wrap(report.summary, '  '),
    '',
    ...table([
      ['safe length', safeLengthInWords(report)],
      ['error allowed', `${formatNumber(report.epsilon)} at ${errorPlace(report)}`],
      ['input range', rangeInWords(report.inputRange)],
      ['contraction λ', lambdaInWords(report)],
      ...alongDataRows(report),
      ...witnessRows(report),
      ...(report.streaming ? streamingRows(report.streaming) : []),
    ]),
    ...(report.layers.length > 0 ? ['', ...table(layerRows(report))] : []),
    '',
    ...table(curveRows(report)),
  ];
  const notes = report.diagnostics.slice(1);
  if (notes.length > 0) lines.push('', ...notes.map((d) => wrap(`${d.severity}: ${d.message} [${d.code}]`, '  ')));
  return lines.join('\n') + '\n';
}
