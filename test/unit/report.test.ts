import { describe, expect, it } from 'vitest';
import { formatNumber } from '../../src/report/format.js';
import { markdownReport } from '../../src/report/markdown.js';
import type { StabilityReport } from '../../src/report/report.js';
import { sarifReport } from '../../src/report/sarif.js';
import { textReport } from '../../src/report/text.js';

const report: StabilityReport = {
  schemaVersion: 1,
  file: 'dir with space/a|b.onnx',
  format: 'onnx',
  model: { producer: 'pytorch 2.1', opset: 17, bytes: 1000, parameters: 10 },
  verdict: 'stable',
  summary: 'Certified stable.',
  epsilon: 1e-3,
  inputRange: { lower: [-1, -2], upper: [1, 3], source: 'derived' },
  safeLength: { k: 3, basis: 'certified' },
  lambda: 0.5,
  lambdaLowerBound: 0.25,
  curve: {
    k: [0, 1, 2, 3],
    bound: [1, 0.1, 0.01, 0.001],
    measured: [0.5, 0.05],
    measuredOn: { source: 'synthetic', sequences: 2, windows: 4 },
  },
  layers: [
    {
      name: '<img src=x onerror=alert(1)> | `layer`\n# heading',
      cell: 'rnn',
      direction: 'forward',
      inputSize: 1,
      hiddenSize: 2,
      lambda: 0.5,
      lambdaLowerBound: 0.25,
      certificates: [{ name: 'comparison-operator', norm: 'weighted max-norm', lambda: 0.5, holds: true, length: 3 }],
      certifiedBy: 'comparison-operator',
    },
  ],
  diagnostics: [
    { code: 'stable', severity: 'information', message: 'Certified stable.' },
    { code: 'default-input-range', severity: 'hint', message: 'Range [-1, 1] assumed' },
  ],
};

describe('report forms', () => {
  it('text shows verdict, safe length, range and both curves', () => {
    const text = textReport(report);
    for (const part of [
      'STABLE',
      'k = 3 (certified',
      '[-2, 3] (derived from the graph)',
      '0.5 certified; no fixed norm gives less than 0.25',
      'measured (synthetic)',
    ]) {
      expect(text).toContain(part);
    }
  });

  it('text says plainly that a bound of 1 or more certifies nothing', () => {
    expect(textReport({ ...report, lambda: 9.5 })).toContain('none below 1 certified (best bound 9.5)');
    expect(textReport({ ...report, lambda: null })).toContain('no bound');
  });

  it('Markdown lets no name from a checkpoint become markup', () => {
    const row = markdownReport(report)
      .split('\n')
      .find((line) => line.includes('onerror'))!;
    expect(row).not.toContain('<img');
    expect(row).toContain('&lt;img');
    expect(row).toContain('\\|');
    expect(row.replaceAll('\\|', '').split('|')).toHaveLength(10);
  });

  it('SARIF escapes paths and maps severities', () => {
    const log = sarifReport([report], '0.0.0') as {
      runs: { results: { level: string; locations: { physicalLocation: { artifactLocation: { uri: string } } }[] }[] }[];
    };
    const [first, second] = log.runs[0]!.results;
    expect([first!.level, second!.level]).toEqual(['note', 'note']);
    expect(first!.locations[0]!.physicalLocation.artifactLocation.uri).toBe('dir%20with%20space/a%7Cb.onnx');
  });
});

describe('formatNumber', () => {
  it.each([
    [0, '0'],
    [0.001, '0.001'],
    [0.00099999, '1e-3'],
    [123456, '123500'],
    [1234567, '1.23e6'],
    [Infinity, '∞'],
    [-Infinity, '−∞'],
    [0.123456, '0.1235'],
  ])('%d as %s', (value, text) => expect(formatNumber(value)).toBe(text));
});
