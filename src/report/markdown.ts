import { formatNumber } from './format.js';
import type { StabilityReport } from './report.js';
import { alongDataRows, errorPlace, lambdaInWords, layerRows, rangeInWords, safeLengthInWords, streamingRows } from './words.js';
import { witnessRows } from './witnessWords.js';

/** Text from a checkpoint made harmless in Markdown: no markup, no table cell ends, no HTML. */
function escape(text: string): string {
  return text
    .replace(/[\\`*_{}[\]()#+!|~]/g, '\\$&')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replace(/[\r\n]+/g, ' ');
}

/** The report for a pull request or a wiki. */
export function markdownReport(report: StabilityReport): string {
  const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const [header, ...layers] = layerRows(report);
  const lines = [
    `## ${escape(report.file)}: ${report.verdict}`,
    '',
    escape(report.summary),
    '',
    row(['', '']),
    row(['---', '---']),
    row(['safe length', escape(safeLengthInWords(report))]),
    row(['error allowed', `${formatNumber(report.epsilon)} at ${errorPlace(report)}`]),
    row(['input range', escape(rangeInWords(report.inputRange))]),
    row(['contraction λ', escape(lambdaInWords(report))]),
    ...[...alongDataRows(report), ...witnessRows(report)].map((cells) => row(cells.map(escape))),
    ...(report.streaming ? streamingRows(report.streaming).map((cells) => row(cells.map(escape))) : []),
    '',
    ...(layers.length > 0
      ? [row(header!), row(header!.map(() => '---')), ...layers.map((cells) => row(cells.map(escape))), '']
      : []),
    ...report.diagnostics.slice(1).map((d) => `- ${d.severity}: ${escape(d.message)} \`${d.code}\``),
  ];
  return lines.join('\n') + '\n';
}
