import { describe, expect, it } from 'vitest';
import { DataType } from '../../src/checkpoint/onnx/tensor.js';
import { check } from '../../src/jobs/check.js';
import { exportTruncated } from '../../src/jobs/export.js';
import { defaultCheckOptions, type CheckOptions, type CheckpointFiles } from '../../src/jobs/jobs.js';
import type { StabilityReport } from '../../src/report/report.js';
import { Random } from '../support/random.js';
import { runtime } from '../support/runtime.js';
import { TestGraph } from '../support/testGraph.js';

/** What the check says of small models: where the input range comes from, and the verdicts that no example shows. */
const options: CheckOptions = { ...defaultCheckOptions, maxLength: 40 };
const files = (bytes: Uint8Array): CheckpointFiles => ({
  name: 'model.onnx',
  read: () => Promise.resolve(bytes),
  readSibling: () => Promise.resolve(undefined),
});
const silent = () => Promise.resolve();
const graph = () => new TestGraph(17, new Random(7));
const run = (g: TestGraph, changes: Partial<CheckOptions> = {}): Promise<StabilityReport> =>
  check(files(g.bytes()), { ...options, ...changes }, runtime, silent);
const codes = (report: StabilityReport) => report.diagnostics.map((d) => d.code);

/** One GRU over [time, batch, 3], with `front` between the graph's input and its X. */
function withFront(front: (g: TestGraph, x: string) => string): TestGraph {
  const g = graph();
  g.output(g.recurrent('GRU', front(g, g.input('x', ['time', 'batch', 3])), { hidden: 4, input: 3 }).yH, [1, 'batch', 4]);
  return g;
}

describe('input range', () => {
  it.each<[string, number, number]>([
    ['Softmax', 0, 1],
    ['Sin', -1, 1],
  ])('is derived behind %s', async (operator, lower, upper) => {
    const report = await run(withFront((g, x) => g.node(operator, [x], operator === 'Softmax' ? { axis: 2 } : {})));
    expect(report.inputRange).toEqual({ lower: [lower, lower, lower], upper: [upper, upper, upper], source: 'derived' });
  });

  it('is derived from an embedding, feature by feature', async () => {
    const g = graph();
    const tokens = g.input('tokens', ['time', 'batch'], DataType.INT64);
    const table = g.weight([6, 3]);
    g.output(g.recurrent('LSTM', g.node('Gather', [table, tokens]), { hidden: 4, input: 3 }).yH, [1, 'batch', 4]);
    const rows = [...new Float32Array(g.initializers[0]!.rawData.slice().buffer)];
    const column = (c: number) => rows.filter((_, i) => i % 3 === c);
    const { inputRange } = await run(g);
    expect(inputRange.source).toBe('derived');
    [0, 1, 2].forEach((c) => {
      expect((inputRange.lower as number[])[c]).toBeCloseTo(Math.min(...column(c)), 6);
      expect((inputRange.upper as number[])[c]).toBeCloseTo(Math.max(...column(c)), 6);
    });
  });

  it('is not that of each feature where a Slice turns the features around', async () => {
    const g = graph();
    const tokens = g.input('tokens', ['time', 'batch'], DataType.INT64);
    const rows = g.node('Gather', [g.weight([6, 3]), tokens]);
    const turned = g.node('Slice', [rows, g.integers([-1]), g.integers([-(2 ** 31)]), g.integers([2]), g.integers([-1])]);
    g.output(g.recurrent('GRU', turned, { hidden: 4, input: 3 }).yH, [1, 'batch', 4]);
    const report = await run(g);
    expect(report.inputRange.source).toBe('default');
    expect(codes(report)).toContain('operator-not-understood');
  });

  it('is yours where you state one, else [-1, 1], and the report says which', async () => {
    const g = withFront((_, x) => x);
    expect((await run(g)).inputRange).toEqual({ lower: -1, upper: 1, source: 'default' });
    const stated = await run(g, { inputRange: { lower: -3, upper: 2 } });
    expect(stated.inputRange).toEqual({ lower: -3, upper: 2, source: 'user' });
    expect(codes(stated)).not.toContain('default-input-range');
  });

  it('follows a dense layer and a tanh into the layer', async () => {
    const wide = { inputRange: { lower: -1000, upper: 1000 } };
    const bounded = await run(
      withFront((g, x) => g.node('Tanh', [g.dense(x, 3, 3)])),
      wide,
    );
    const unbounded = await run(
      withFront((g, x) => g.dense(x, 3, 3)),
      wide,
    );
    expect(bounded.lambda).toBeLessThan(unbounded.lambda!);
    expect(codes(bounded)).not.toContain('operator-not-understood');
  });
});

describe('verdicts', () => {
  it('says unstable where the state overflows', async () => {
    const g = graph();
    const x = g.input('x', ['time', 'batch', 1]);
    // W, R and B of one unit that multiplies itself by 10⁹ at every step.
    const values = [[1], [1e9], [0, 0]];
    const stored = (dims: readonly number[]) => g.reshape(g.floats(values.shift()!), ...dims);
    const { yH } = g.recurrent('RNN', x, { hidden: 1, input: 1, attributes: { activations: ['Relu'] } }, stored);
    g.output(yH, [1, 'batch', 1]);
    const report = await run(g);
    expect(report.verdict).toBe('unstable');
    expect(report.summary).toContain('overflows');
    expect(JSON.parse(JSON.stringify(report))).toEqual(report);
  });

  it('names a streaming model, certifies its layer and exports it without its state', async () => {
    const g = graph();
    const x = g.input('x', [1, 1, 3]);
    const state = g.input('h', [1, 1, 4]);
    const small = (dims: readonly number[]) => g.weight(dims, 0.2);
    g.output(g.recurrent('GRU', x, { hidden: 4, input: 3, initialH: state }, small).yH, [1, 1, 4]);
    const report = await run(g);
    expect(codes(report)).toContain('streaming-model');
    expect(report.verdict).toBe('stable');
    expect(report.safeLength).toMatchObject({ basis: 'certified' });
    const { verification } = await exportTruncated(files(g.bytes()), { ...options, length: 'auto' }, runtime, silent);
    expect(verification).toMatchObject({ passed: true, basis: 'certified', length: report.safeLength!.k });
    // What is cut off is what the certificate bounds, and what the bound allows is not far from what was asked for.
    expect(verification.outputError).toBeLessThanOrEqual(options.epsilon);
    expect(verification.outputError).toBeGreaterThan(0);
  });

  it('certifies no stack through an operator that it does not understand, and names it', async () => {
    const g = graph();
    const one = g.squeeze(g.recurrent('GRU', g.input('x', ['time', 'batch', 3]), { hidden: 4, input: 3 }).y, 1);
    const between = g.node('Erf', [one]);
    g.output(g.recurrent('GRU', between, { hidden: 4, input: 4 }).yH, [1, 'batch', 4]);
    const report = await run(g);
    expect(report.lambda).toBeNull();
    expect(report.diagnostics.find((d) => d.code === 'operator-not-understood')?.message).toContain('Erf');
    expect(report.layers.every((layer) => layer.lambda !== null)).toBe(true);
  });

  it('takes the whole fixed sequence as an exact length', async () => {
    const g = graph();
    g.output(g.recurrent('LSTM', g.input('x', [5, 2, 3]), { hidden: 4, input: 3 }).yH, [1, 2, 4]);
    const report = await run(g);
    expect(report.curve.k).toEqual([0, 1, 2, 3, 4, 5]);
    expect(report.curve.bound!.at(-1)).toBe(0);
    const { verification } = await exportTruncated(files(g.bytes()), { ...options, length: 'auto' }, runtime, silent);
    expect(verification).toMatchObject({ length: 5, basis: 'full', passed: true, recurrentError: null });
  });
});

describe('float16 checkpoints', () => {
  it.each(['RNN', 'LSTM', 'GRU'] as const)('%s: exported in float16 and verified within its rounding', async (operator) => {
    const g = graph();
    const x = g.input('x', ['time', 'batch', 3], DataType.FLOAT16);
    const half = (dims: readonly number[]) => g.weight(dims, 0.5, DataType.FLOAT16);
    g.output(g.recurrent(operator, x, { hidden: 4, input: 3 }, half).yH, [1, 'batch', 4], DataType.FLOAT16);
    const { verification } = await exportTruncated(files(g.bytes()), { ...options, length: 12 }, runtime, silent);
    expect(verification.passed).toBe(true);
    expect(verification.exactError).toBeLessThan(2e-3);
  });
});

describe('a model that ONNX Runtime refuses', () => {
  it('still gets its certificates, and says why nothing was measured', async () => {
    // Erf in front makes the check ask ONNX Runtime, which cannot load an operator that does not exist beside it.
    const g = withFront((h, x) => h.node('Erf', [x]));
    g.output(g.node('NoSuchOperator', ['x']), ['time', 'batch', 3]);
    const report = await run(g);
    expect(report.layers[0]!.lambda).not.toBeNull();
    expect(report.curve.measured).toBeNull();
    expect(report.diagnostics.find((d) => d.code === 'runtime-refused')?.message).toContain('Nothing could be measured');
  });
});

describe('cancellation', () => {
  it('stops the check where progress throws', async () => {
    let steps = 0;
    const stop = () => (++steps > 2 ? Promise.reject(new Error('stop')) : Promise.resolve());
    await expect(check(files(withFront((_, x) => x).bytes()), options, runtime, stop)).rejects.toThrow('stop');
  });
});
