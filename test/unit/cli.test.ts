import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import Ajv2020 from 'ajv/dist/2020.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ReportSchema, type StabilityReport } from '../../src/report/report.js';

/** The built command line as users run it: exit status, streams and files. `npm test` builds it first. */
const folder = mkdtempSync(join(tmpdir(), 'rnn-stability-cli-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function cli(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [resolve('dist/cli.js'), ...args], {
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  return { status, stdout, stderr };
}
const example = (name: string) => resolve('examples', name);
const lines = (text: string) => text.trim().split('\n');

describe('rnn-stability check', () => {
  it('prints one JSON report that follows the published schema', () => {
    const { status, stdout } = cli('check', example('oscillator-rnn.onnx'), '--format', 'json');
    expect(status).toBe(0);
    const report = JSON.parse(stdout) as StabilityReport;
    const validate = new Ajv2020({ strict: true }).compile(ReportSchema);
    expect(validate(report), JSON.stringify(validate.errors)).toBe(true);
    expect(report).toMatchObject({ schemaVersion: 1, format: 'onnx', verdict: 'stable', safeLength: { basis: 'certified' } });
    expect(report.lambda).toBeLessThan(1);
    expect(report.lambdaLowerBound).toBeLessThanOrEqual(report.lambda!);
  });

  it('prints an array for several files, and still checks the others when one is bad', () => {
    const bad = join(folder, 'pointer.onnx');
    writeFileSync(bad, 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n');
    const { status, stdout, stderr } = cli(
      'check',
      example('text-lstm.onnx'),
      bad,
      example('modem-gru.onnx'),
      '--format',
      'json',
    );
    expect(status).toBe(2);
    expect((JSON.parse(stdout) as StabilityReport[]).map((r) => r.verdict)).toEqual(['stable-on-data', 'stable-on-data']);
    expect(lines(stderr)).toEqual([
      `error: ${bad}: this is a Git LFS pointer, not the model; run \`git lfs pull\` to fetch the model`,
    ]);
  });

  it.each(['text', 'markdown', 'sarif'])('prints %s', (format) => {
    const { status, stdout } = cli('check', example('oscillator-rnn.onnx'), '--format', format);
    expect(status).toBe(0);
    if (format === 'sarif') {
      const log = JSON.parse(stdout) as { version: string; runs: { results: { ruleId: string; level: string }[] }[] };
      expect(log.version).toBe('2.1.0');
      expect(log.runs[0]!.results[0]).toMatchObject({ ruleId: 'stable', level: 'note' });
    } else {
      expect(stdout).toContain('Certified stable');
    }
  });

  it('exits with 1 on the verdict that --fail-on names', () => {
    expect(cli('check', example('text-lstm.onnx'), '--fail-on', 'uncertified').status).toBe(1);
    expect(cli('check', example('text-lstm.onnx'), '--fail-on', 'inconclusive').status).toBe(0);
    expect(cli('check', example('oscillator-rnn.onnx'), '--fail-on', 'uncertified').status).toBe(0);
  });

  it('refuses samples that do not fit, naming the array and both shapes', () => {
    const { status, stderr } = cli('check', example('modem-gru.onnx'), '--samples', example('text-lstm.samples.npz'));
    expect(status).toBe(2);
    expect(lines(stderr)).toHaveLength(1);
    expect(stderr).toMatch(/text-lstm\.samples\.npz:tokens: array .* has shape \[/);
  });

  it('says how many sequences a quantile needs', () => {
    const { stdout } = cli('check', example('text-lstm.onnx'), '--quantile', '0.9999', '--format', 'json');
    const report = JSON.parse(stdout) as StabilityReport;
    // Under a constant character it remembers; only samples could say more.
    expect(report.verdict).toBe('unstable');
    expect(report.witness).toMatchObject({ of: 'model', replay: { staysApart: true } });
    expect(report.summary).toContain('too few');
    expect(report.diagnostics.find((d) => d.code === 'too-few-samples')?.message).toContain('29956 are needed');
  });

  const model = () => readFileSync(example('text-lstm.onnx'));
  it.each<[string, () => Uint8Array, RegExp]>([
    ['an empty file', () => new Uint8Array(), /the file is empty$/],
    ['a truncated file', () => model().subarray(0, Math.floor(model().length * 0.6)), /the ONNX file is truncated or damaged/],
    [
      'a file that is not ONNX',
      () => new TextEncoder().encode('{"format":"layers-model"}'),
      /this JSON file is no TF\.js model: it has no modelTopology$/,
    ],
    ['a zip archive', () => Uint8Array.of(0x50, 0x4b, 3, 4, 0, 0), /not an ONNX file: this is a zip archive/],
    [
      'random bytes',
      () => Uint8Array.from({ length: 500 }, (_, i) => (i * 7919 + 13) % 251),
      /not an ONNX file: its bytes are no ModelProto$/,
    ],
  ])('gives one clear line and exit 2 for %s', (name, bytes, message) => {
    const file = join(folder, `${name.replaceAll(' ', '-')}.onnx`);
    writeFileSync(file, bytes());
    const { status, stdout, stderr } = cli('check', file);
    expect(status).toBe(2);
    expect(stdout).toBe('');
    expect(lines(stderr)).toHaveLength(1);
    expect(lines(stderr)[0]).toMatch(message);
    expect(stderr).toContain(file);
  });

  it('gives one clear line for a file that does not exist, a folder, and bad usage', () => {
    for (const [args, message] of [
      [['check', join(folder, 'absent.onnx')], 'no such file'],
      [['check', folder], 'this is a folder'],
    ] as const) {
      const { status, stderr } = cli(...args);
      expect(status).toBe(2);
      expect(stderr).toContain(message);
    }
    expect(cli('check').status).toBe(2);
    expect(cli('check', example('text-lstm.onnx'), '--epsilon', '-1').status).toBe(2);
    expect(cli('check', example('text-lstm.onnx'), '--input-range', '1,-1').status).toBe(2);
  });
});

describe('rnn-stability export', () => {
  const out = join(folder, 'out.onnx');
  let printed = '';
  beforeAll(() => {
    const { status, stdout, stderr } = cli('export', example('oscillator-rnn.onnx'), '-o', out);
    expect(stderr).toBe('');
    expect(status).toBe(0);
    printed = stdout;
  });

  it('writes the model and prints the verification beside the bound', () => {
    expect(existsSync(out)).toBe(true);
    expect(printed).toMatch(
      /k = \d+ \(certified\)\. Verified in ONNX Runtime on \d+ sample windows: recurrent output differs by at most/,
    );
    expect(printed).toContain('certified bound');
  });

  it('never overwrites unasked, and never the checkpoint itself', () => {
    const before = readFileSync(out);
    const refused = cli('export', example('oscillator-rnn.onnx'), '-o', out);
    expect(refused.status).toBe(2);
    expect(refused.stderr).toContain('exists; choose another name or pass --force');
    expect(readFileSync(out).equals(before)).toBe(true);
    expect(cli('export', example('oscillator-rnn.onnx'), '-o', out, '--force').status).toBe(0);
    const copy = join(folder, 'copy.onnx');
    writeFileSync(copy, readFileSync(example('oscillator-rnn.onnx')));
    expect(cli('export', copy, '-o', copy, '--force').stderr).toContain('would replace the checkpoint itself');
  });

  it('leaves nothing behind when the folder cannot be written', () => {
    const { status, stderr } = cli('export', example('oscillator-rnn.onnx'), '-o', join(folder, 'absent', 'out.onnx'));
    expect(status).toBe(2);
    expect(stderr).toContain('cannot be written (ENOENT)');
  });
});
