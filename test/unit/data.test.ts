import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { nodeFiles } from '../../src/cli/nodeFiles.js';
import { check } from '../../src/jobs/check.js';
import { exportTruncated } from '../../src/jobs/export.js';
import { parseInputRange } from '../../src/jobs/inputRange.js';
import { defaultCheckOptions, type CheckOptions, type CheckpointFiles } from '../../src/jobs/jobs.js';
import type { StabilityReport } from '../../src/report/report.js';
import { safeLengthInWords } from '../../src/report/words.js';
import { rangeHull, sourceBox } from '../../src/stability/networkBounds.js';
import { rangeOfSamples } from '../../src/stability/sampleRange.js';
import { Random } from '../support/random.js';
import { runtime } from '../support/runtime.js';
import { TestGraph } from '../support/testGraph.js';

/** What a check makes of the user's data: where samples lie, the range they fill, and errors at the model's own outputs. */

const folder = mkdtempSync(join(tmpdir(), 'rnn-stability-data-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const silent = () => Promise.resolve();
const options: CheckOptions = { ...defaultCheckOptions, maxLength: 24, quantile: 0.5 };
const codes = (report: StabilityReport) => report.diagnostics.map((d) => d.code);
const run = (files: CheckpointFiles, changes: Partial<CheckOptions> = {}) =>
  check(files, { ...options, ...changes }, runtime, silent);

/** A tanh RNN over [batch, time, 2] with a dense layer and a softmax behind it. */
function model(behind: (g: TestGraph, h: string) => string = (g, h) => g.node('Softmax', [g.dense(h, 4, 3)], { axis: -1 })) {
  const g = new TestGraph(17, new Random(5));
  const x = g.transpose(g.input('x', ['batch', 'time', 2]), 1, 0, 2);
  const { y } = g.recurrent('RNN', x, { hidden: 4, input: 2 }, (dims) => g.weight(dims, 0.3));
  g.output(behind(g, g.squeeze(y, 1)), ['time', 'batch', 'out']);
  return g.bytes();
}

/** A table of two features: the first in [0, 1], the second in [10, 10.5]. */
const table = (random: Random, steps: number) =>
  Array.from({ length: steps }, () => `${random.next()},${10 + 0.5 * random.next()}`).join('\n');

/** A checkpoint in a folder of its own, with files beside it. */
function checkpoint(name: string, beside: Record<string, string> = {}): CheckpointFiles {
  const own = join(folder, name);
  mkdirSync(own);
  writeFileSync(join(own, 'net.onnx'), model());
  for (const [file, content] of Object.entries(beside)) {
    mkdirSync(join(own, file, '..'), { recursive: true });
    writeFileSync(join(own, file), content);
  }
  return nodeFiles(join(own, 'net.onnx'));
}

describe('samples beside the checkpoint', () => {
  const random = new Random(1);

  it.each<[string, Record<string, string>]>([
    ['a table', { 'net.samples.csv': table(random, 40) }],
    ['JSON', { 'net.samples.json': JSON.stringify([[...Array(40)].map(() => [0.5, 10])]) }],
    [
      'a folder',
      { 'net.samples/one.csv': table(random, 40), 'net.samples/two.csv': table(random, 30), 'net.samples/.hidden': 'x' },
    ],
  ])('are found: %s', async (name, beside) => {
    const report = await run(checkpoint(name.replace(' ', '-'), beside));
    expect(report.curve.measuredOn).toMatchObject({ source: 'samples', sequences: name === 'a folder' ? 2 : 1 });
    expect(codes(report)).toContain('samples-outside-range');
  });

  it('a folder can be named, one file for each sequence of another length', async () => {
    const files = checkpoint('named', { 'takes/a.csv': table(random, 40), 'takes/b.csv': table(random, 60) });
    const report = await run(nodeFiles(files.name, join(folder, 'named', 'takes')));
    expect(report.curve.measuredOn!.sequences).toBe(2);
    // The longer sequence alone reaches the longest lengths.
    expect(report.curve.measured).toHaveLength(25);
  });

  it('an empty folder, and a file that does not fit, are named', async () => {
    const files = checkpoint('bad', { 'takes/a.csv': '1\n2\n', 'empty/.keep': '' });
    await expect(run(nodeFiles(files.name, join(folder, 'bad', 'takes')))).rejects.toThrow(
      /takes\/a\.csv: array "x" has shape \[2, 1\], the model's input is \[sequences, time, 2\]/,
    );
    await expect(run(nodeFiles(files.name, join(folder, 'bad', 'empty')))).rejects.toThrow('is an empty folder');
  });
});

describe('a model of a fixed batch that must be run to know what its layer reads', () => {
  const bytes = () => {
    const g = new TestGraph(17, new Random(5));
    const x = g.transpose(g.node('Erf', [g.input('x', [4, 'time', 2])]), 1, 0, 2);
    g.output(g.recurrent('GRU', x, { hidden: 3, input: 2 }).yH, [1, 4, 3]);
    return g.bytes();
  };
  const withSamples = (sequences: number): CheckpointFiles => {
    const samples = JSON.stringify([...Array(sequences)].map((_, n) => [...Array(30)].map((__, t) => [Math.sin(n + t), 0.1])));
    const read = () => Promise.resolve(new TextEncoder().encode(samples));
    return {
      name: 'net.onnx',
      read: () => Promise.resolve(bytes()),
      readSibling: () => Promise.resolve(undefined),
      samples: { name: 's.json', read },
    };
  };

  it('uses whole batches of samples, and says how many it needs', async () => {
    expect((await run(withSamples(9))).curve.measuredOn?.sequences).toBe(8);
    await expect(run(withSamples(3))).rejects.toThrow('takes batches of 4 sequences, and there are 3; give at least 4');
  });
});

describe('the input range', () => {
  it('from samples is theirs feature by feature with the margin, and the certificate says so', async () => {
    const files = checkpoint('range', { 'net.samples.csv': `${table(new Random(2), 60)}\n0,10\n1,10.5` });
    const report = await run(files, { inputRange: 'samples' });
    const { lower, upper, source } = report.inputRange;
    expect(source).toBe('samples');
    expect(lower as number[]).toEqual([expect.closeTo(-0.1, 12), expect.closeTo(9.95, 12)]);
    expect(upper as number[]).toEqual([expect.closeTo(1.1, 12), expect.closeTo(10.55, 12)]);
    expect(report.diagnostics.find((d) => d.code === 'range-from-samples')?.message).toContain('conditional on it');
    expect(report.safeLength?.basis).toBe('certified');
    expect(report.summary).toContain('every input of the range of your samples');
    expect(safeLengthInWords(report)).toContain('certified for every input of the range of your samples');
    expect(codes(report)).not.toContain('samples-outside-range');
    // One range for both features would have to hold all of [−0.1, 10.55].
    const wide = await run(files, { inputRange: { lower: -0.1, upper: 10.55 } });
    expect(report.curve.bound!.at(-1)!).toBeLessThan(wide.curve.bound!.at(-1)!);
  });

  it('from samples needs samples', async () => {
    await expect(run(checkpoint('none'), { inputRange: 'samples' })).rejects.toMatchObject({ code: 'bad-samples' });
  });

  it('per feature must fit the input', async () => {
    const three = { lower: [0, 0, 0], upper: [1, 1, 1] };
    await expect(run(checkpoint('three'), { inputRange: three })).rejects.toMatchObject({
      code: 'bad-input-range',
      message: expect.stringContaining('lists 3 features, "x" has 2') as string,
    });
    const report = await run(checkpoint('two'), {
      inputRange: { lower: -1, upper: 1, sources: { x: { lower: [0, -2], upper: [1, 2] } } },
    });
    expect(report.inputRange).toEqual({ lower: [0, -2], upper: [1, 2], source: 'user' });
  });

  it('is read from files, and refused in words', () => {
    expect(parseInputRange({ lower: -1, upper: [1, 2] }, 'f')).toEqual({ lower: [-1, -1], upper: [1, 2] });
    expect(parseInputRange({ x: { lower: 0, upper: 1 }, y: { lower: [-3], upper: [2] } }, 'f')).toEqual({
      lower: -3,
      upper: 2,
      sources: { x: { lower: 0, upper: 1 }, y: { lower: [-3], upper: [2] } },
    });
    for (const [content, message] of [
      [[], /is no input range; write/],
      [{}, /is no input range/],
      [{ lower: 0 }, /f is no input range/],
      [{ x: { lower: 'a', upper: 1 } }, /f, "x" is no input range/],
      [{ lower: [1, 2], upper: [3] }, /lower lists 2 features and upper 1/],
      [{ lower: [0, 2], upper: [1, 1] }, /feature 1 has a lower bound above its upper one/],
    ] as const) {
      expect(() => parseInputRange(content, 'f')).toThrow(message);
    }
  });

  it('of several sources is kept apart, and their hull is for all else', () => {
    const range = rangeOfSamples([
      [
        'x',
        [
          [0, 10],
          [1, 20],
        ],
      ],
      ['y', [[5], [5]]],
    ]);
    expect(sourceBox(range, 'x', 2)).toEqual({ lower: Float64Array.of(-0.1, 9), upper: Float64Array.of(1.1, 21) });
    expect(sourceBox(range, 'y', 1)).toEqual({ lower: Float64Array.of(5), upper: Float64Array.of(5) });
    expect(rangeHull(range)).toEqual({ lower: -0.1, upper: 21 });
  });
});

describe('errors at the model’s own outputs', () => {
  const wideOptions = { at: 'output' as const, inputRange: { lower: -1, upper: 1 } };

  it('are bounded where the graph allows, above what is measured, and below what the recurrent error could make', async () => {
    const files = { name: 'net.onnx', read: () => Promise.resolve(model()), readSibling: () => Promise.resolve(undefined) };
    const report = await run(files, wideOptions);
    expect(report.at).toBe('output');
    const { bound, measured, recurrent } = report.curve;
    expect(bound!.every((b, i) => b <= 1.001 && b >= (measured![i] ?? 0))).toBe(true);
    expect(recurrent!.bound!.every((b, i) => b >= (recurrent!.measured![i] ?? 0))).toBe(true);
    // A softmax of small weights shrinks errors.
    expect(bound![8]!).toBeLessThan(recurrent!.bound![8]!);
    expect(report.safeLength?.basis).toBe('certified');
    const { verification } = await exportTruncated(files, { ...options, ...wideOptions, length: 'auto' }, runtime, silent);
    expect(verification.passed).toBe(true);
    expect(verification.bound).toBe(bound![verification.length]);
    expect(verification.outputError).toBeLessThanOrEqual(verification.bound!);
  });

  it('are measured, not bounded, behind an operator that is not understood', async () => {
    const bytes = model((g, h) => g.node('Erf', [g.dense(h, 4, 3)]));
    const files = { name: 'net.onnx', read: () => Promise.resolve(bytes), readSibling: () => Promise.resolve(undefined) };
    const report = await run(files, wideOptions);
    expect(report.curve.bound).toBeNull();
    expect(report.curve.measured!.length).toBe(25);
    expect(report.diagnostics.find((d) => d.code === 'output-not-bounded')?.message).toContain('through Erf');
  });

  it.each<[string, (g: TestGraph, x: string) => string]>([
    ['bounded', (_, x) => x],
    ['not bounded', (g, x) => g.node('Erf', [x])],
  ])('of both directions of a layer at one position, %s: all curves have the same lengths', async (name, behind) => {
    const g = new TestGraph(17, new Random(8));
    const layer = { hidden: 2, input: 2, direction: 'bidirectional' as const };
    const { y } = g.recurrent('RNN', g.input('x', ['time', 'batch', 2]), layer, (dims) => g.weight(dims, 0.3));
    const joined = g.reshape(g.transpose(y, 0, 2, 1, 3), 0, 0, 4);
    g.output(behind(g, g.dense(joined, 4, 3)), ['time', 'batch', 3]);
    const bytes = g.bytes();
    const files = { name: 'net.onnx', read: () => Promise.resolve(bytes), readSibling: () => Promise.resolve(undefined) };
    const { curve } = await run(files, wideOptions);
    expect(curve.k.at(-1)).toBe(options.maxLength);
    expect(curve.measured).toHaveLength(curve.k.length);
    expect(curve.bound !== null).toBe(name === 'bounded');
    expect(curve.recurrent!.k).toEqual(curve.k);
    expect(curve.recurrent!.measured).toHaveLength(curve.k.length);
  });

  it('are neither where an output depends on the whole sequence', async () => {
    const bytes = model((g, h) => g.node('ReduceMean', [h], { axes: [0], keepdims: 1 }));
    const files = { name: 'net.onnx', read: () => Promise.resolve(bytes), readSibling: () => Promise.resolve(undefined) };
    const report = await run(files, wideOptions);
    expect([report.curve.bound, report.curve.measured]).toEqual([null, null]);
    expect(codes(report)).toEqual(expect.arrayContaining(['output-not-bounded', 'output-not-measured']));
    expect(report.curve.recurrent!.bound).not.toBeNull();
  });
});
