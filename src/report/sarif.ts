import type { Diagnostic, StabilityReport } from './report.js';

/** SARIF 2.1.0 (https://docs.oasis-open.org/sarif/sarif/v2.1.0/), for code-scanning services and editors. */

const levels: Record<Diagnostic['severity'], 'error' | 'warning' | 'note'> = {
  error: 'error',
  warning: 'warning',
  information: 'note',
  hint: 'note',
};

/** A path as a URI reference, whatever characters it holds. */
function fileUri(path: string): string {
  return path
    .split(/[\\/]/)
    .map(encodeURIComponent)
    .join('/')
    .replace(/^([A-Za-z])%3A/, 'file:///$1:');
}

export function sarifReport(reports: readonly StabilityReport[], version: string): object {
  const codes = [...new Set(reports.flatMap((r) => r.diagnostics.map((d) => d.code)))].sort();
  return {
    $schema: 'https://json.schemastore.org/sarif-2.1.0.json',
    version: '2.1.0',
    runs: [
      {
        tool: { driver: { name: 'RNN Stability', version, rules: codes.map((id) => ({ id })) } },
        results: reports.flatMap((report) =>
          report.diagnostics.map((d) => ({
            ruleId: d.code,
            ruleIndex: codes.indexOf(d.code),
            level: levels[d.severity],
            message: { text: d.layer === undefined ? d.message : `${d.layer}: ${d.message}` },
            locations: [
              {
                physicalLocation: {
                  artifactLocation: { uri: fileUri(report.file) },
                  ...(d.place ? { region: { ...d.place } } : {}),
                },
              },
            ],
          })),
        ),
      },
    ],
  };
}
