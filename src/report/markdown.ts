import { formatNumber } from './format.js';
import type { StabilityReport } from './report.js';
import { lambdaInWords, rangeInWords, safeLengthInWords } from './text.js';

/** Text from a checkpoint made harmless in Markdown: no markup, no table cell ends, no HTML. */
function escape(text: string): string {
  return text
    .replace(/[\\`*_{}[\]()#+!|~]/g, '\\$&')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replace(/[\r\n]+/g, ' ');
}

const number = (value: number | null) => (value === null ? '–' : formatNumber(value));

/** The report for a pull request or a wiki. */
export function markdownReport(report: StabilityReport): string {
  const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  const lines = [
    `## ${escape(report.file)}: ${report.verdict}`,
    '',
    escape(report.summary),
    '',
    row(['', '']),
    row(['---', '---']),
    row(['safe length', escape(safeLengthInWords(report))]),
    row(['error allowed', formatNumber(report.epsilon)]),
    row(['input range', escape(rangeInWords(report.inputRange))]),
    row(['contraction λ', escape(lambdaInWords(report))]),
    '',
    row(['layer', 'cell', 'direction', 'input', 'hidden', 'λ bound', 'λ at least', 'certificates that hold']),
    row(Array.from({ length: 8 }, () => '---')),
    ...report.layers.map((layer) =>
      row([
        escape(layer.name),
        layer.cell,
        layer.direction,
        String(layer.inputSize),
        String(layer.hiddenSize),
        number(layer.lambda),
        number(layer.lambdaLowerBound),
        layer.certificates
          .filter((c) => c.holds)
          .map((c) => c.name)
          .join(', ') || 'none',
      ]),
    ),
    '',
    ...report.diagnostics.slice(1).map((d) => `- ${d.severity}: ${escape(d.message)} \`${d.code}\``),
  ];
  return lines.join('\n') + '\n';
}
