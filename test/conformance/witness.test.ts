import { describe, expect, it } from 'vitest';
import { npy, npz } from '../../examples/training/npz.js';
import { DataType, type Tensor } from '../../src/checkpoint/onnx/tensor.js';
import { nodeFiles } from '../../src/cli/nodeFiles.js';
import { check } from '../../src/jobs/check.js';
import { defaultCheckOptions, type CheckOptions, type CheckpointFiles } from '../../src/jobs/jobs.js';
import { markdownReport } from '../../src/report/markdown.js';
import type { StabilityReport, WitnessReport } from '../../src/report/report.js';
import { sarifReport } from '../../src/report/sarif.js';
import { textReport } from '../../src/report/text.js';
import { checkpointPath, hasCheckpoint } from '../support/checkpoints.js';
import { weights } from '../support/onnxModel.js';
import { Random } from '../support/random.js';
import { runtime } from '../support/runtime.js';
import { TestGraph } from '../support/testGraph.js';

/** From a file to a witness in its report, and from the report back to the file: what it claims is fed to ONNX Runtime. */

const options: CheckOptions = { ...defaultCheckOptions, maxLength: 32 };
const silent = () => Promise.resolve();
const files = (bytes: Uint8Array, samples?: Uint8Array): CheckpointFiles => ({
  name: 'model.onnx',
  read: () => Promise.resolve(bytes),
  readSibling: () => Promise.resolve(undefined),
  ...(samples ? { samples: { name: 'samples.npz', read: () => Promise.resolve(samples) } } : {}),
});
const graph = () => new TestGraph(17, new Random(3));

/** Stored weights with these values, one list for each of W, R and B. */
function storing(g: TestGraph, ...values: (readonly number[])[]) {
  const left = [...values];
  return (dims: readonly number[]) => {
    const name = `stored${g.initializers.length}`;
    g.initializers.push(weights(name, dims, left.shift()!));
    return name;
  };
}

/** W, R and B of h′ = tanh(r h + x). */
const tanhUnit = (g: TestGraph, r = 2) => storing(g, [1], [r], [0, 0]);
/** The same for both directions. */
const tanhPair = (g: TestGraph) => storing(g, [1, 1], [2, 2], [0, 0, 0, 0]);

type Row = readonly number[];
const values = (w: WitnessReport, side: 0 | 1, name: string): Row[] =>
  [w.prefixes[side], w.common].flatMap(({ pattern, steps }) =>
    Array.from({ length: steps }, (_, t) => pattern[name]![t % pattern[name]!.length]!),
  );

/** A history as one tensor [time, batch, features]; all sequences alike, turned around for layers that read backwards. */
function sequence(w: WitnessReport, side: 0 | 1, name: string, batch = 1): Tensor {
  const rows = values(w, side, name);
  if (w.reverse) rows.reverse();
  const features = rows[0]!.length;
  const data = rows.flatMap((row) => Array.from({ length: batch }, () => row).flat());
  return { type: DataType.FLOAT, dims: [rows.length, batch, features], data: Float64Array.from(data) };
}

const apart = (a: Tensor, b: Tensor) => a.data.reduce((m, v, i) => Math.max(m, Math.abs(v - b.data[i]!)), 0);

/** The difference of an output's first number, which is the forward direction's, between the two histories, on the file as it is. */
async function replay(model: Uint8Array, output: string, feeds: (side: 0 | 1) => Map<string, Tensor>): Promise<number> {
  const session = await runtime.load(model);
  try {
    const a = (await session.run(feeds(0))).get(output)!;
    const b = (await session.run(feeds(1))).get(output)!;
    return Math.abs(a.data[0]! - b.data[0]!);
  } finally {
    await session.release();
  }
}

const codes = (report: StabilityReport) => report.diagnostics.map((d) => d.code);

describe('a model that remembers is found out, and the report’s inputs show it on the file itself', () => {
  it.each<[string, (g: TestGraph) => string, number]>([
    ['RNN', (g) => g.recurrent('RNN', g.input('x', ['time', 'batch', 1]), { hidden: 1, input: 1 }, tanhUnit(g)).yH, 1],
    [
      'RNN that reads backwards',
      (g) => {
        const options = { hidden: 1, input: 1, direction: 'reverse' } as const;
        return g.recurrent('RNN', g.input('x', ['time', 'batch', 1]), options, tanhUnit(g)).yH;
      },
      1,
    ],
    [
      'RNN in both directions',
      (g) => {
        const options = { hidden: 1, input: 1, direction: 'bidirectional' } as const;
        return g.recurrent('RNN', g.input('x', ['time', 'batch', 1]), options, tanhPair(g)).yH;
      },
      1,
    ],
    [
      'RNN in batches of three',
      (g) => g.recurrent('RNN', g.input('x', ['time', 3, 1]), { hidden: 1, input: 1 }, tanhUnit(g)).yH,
      3,
    ],
    [
      'GRU',
      (g) => {
        const stored = storing(g, [0, 0, 2], [0, 0, 3], [1, 4, 0, 0, 0, 0]);
        return g.recurrent('GRU', g.input('x', ['time', 'batch', 1]), { hidden: 1, input: 1 }, stored).yH;
      },
      1,
    ],
    [
      'LSTM above a dense layer',
      (g) => {
        const x = g.node('MatMul', [g.input('x', ['time', 'batch', 1]), storing(g, [0.5])([1, 1])]);
        const stored = storing(g, [0, 0, 0, 8], [0, 0, 0, 4], [2, 4, 0, 0, 0, 0, 0, 0]);
        return g.recurrent('LSTM', x, { hidden: 1, input: 1 }, stored).yH;
      },
      1,
    ],
    [
      'a stack whose lower layer remembers',
      (g) => {
        const lower = g.squeeze(
          g.recurrent('RNN', g.input('x', ['time', 'batch', 1]), { hidden: 1, input: 1 }, tanhUnit(g)).y,
          1,
        );
        return g.recurrent('RNN', lower, { hidden: 1, input: 1 }, tanhUnit(g, 0.5)).yH;
      },
      1,
    ],
  ])('%s', async (_, build, batch) => {
    const g = graph();
    const output = build(g);
    g.output(output, ['directions', 'batch', 1]);
    const report = await check(files(g.bytes()), options, runtime, silent);
    expect(report.verdict).toBe('unstable');
    expect(report.safeLength).toBeNull();
    const w = report.witness!;
    expect(w).toMatchObject({ kind: 'two-orbits', of: 'model', persistent: true });
    expect(w.replay).toMatchObject({ staysApart: true, steps: 3000 });
    expect(w.separator!.multiplier).toBeGreaterThan(1);
    expect(report.summary).toContain('on attracting orbits, so the past matters for ever');
    expect(codes(report).slice(0, 2)).toEqual(['unstable', 'witness-found']);
    // The file again, by what the report says alone.
    const difference = await replay(g.bytes(), output, (side) => new Map([['x', sequence(w, side, 'x', batch)]]));
    expect(difference).toBeCloseTo(w.distance, 4);
    expect(w.replay!.distance).toBeCloseTo(w.distance, 4);
    expect(JSON.parse(JSON.stringify(report))).toEqual(report);
  });

  it('tokens', async () => {
    const g = graph();
    const tokens = g.input('tokens', ['time', 'batch'], DataType.INT64);
    const x = g.node('Gather', [storing(g, [-1, 0, 0.05, 1])([4, 1]), tokens]);
    const output = g.recurrent('RNN', x, { hidden: 1, input: 1 }, tanhUnit(g)).yH;
    g.output(output, [1, 'batch', 1]);
    const report = await check(files(g.bytes()), options, runtime, silent);
    const w = report.witness!;
    expect([report.verdict, w.replay?.staysApart]).toEqual(['unstable', true]);
    const feeds = (side: 0 | 1) => {
      const rows = values(w, side, 'tokens').flat();
      return new Map([['tokens', { type: DataType.INT64, dims: [rows.length, 1], data: Float64Array.from(rows) }]]);
    };
    expect(await replay(g.bytes(), output, feeds)).toBeCloseTo(w.distance, 4);
  });

  it('a streaming model, frame by frame', async () => {
    const g = graph();
    const x = g.input('x', [1, 1, 1]);
    const state = g.input('h', [1, 1, 1]);
    const { yH } = g.recurrent('RNN', x, { hidden: 1, input: 1, initialH: state }, tanhUnit(g));
    g.output(yH, [1, 1, 1]);
    const report = await check(files(g.bytes()), options, runtime, silent);
    const w = report.witness!;
    expect([report.verdict, w.kind, w.replay?.staysApart]).toEqual(['unstable', 'two-orbits', true]);
    const session = await runtime.load(g.bytes());
    const ends = [];
    for (const side of [0, 1] as const) {
      let h: Tensor = { type: DataType.FLOAT, dims: [1, 1, 1], data: new Float64Array(1) };
      for (const row of values(w, side, 'x')) {
        const frame: Tensor = { type: DataType.FLOAT, dims: [1, 1, 1], data: Float64Array.from(row) };
        h = (await session.run(new Map([['x', frame], ['h', h]]))).get(yH)!; // prettier-ignore
      }
      ends.push(h);
    }
    await session.release();
    expect(apart(ends[0]!, ends[1]!)).toBeCloseTo(w.distance, 4);
  });
});

describe('what a witness does not decide', () => {
  const remembering = () => {
    const g = graph();
    g.output(g.recurrent('RNN', g.input('x', ['time', 'batch', 1]), { hidden: 1, input: 1 }, tanhUnit(g)).yH, [1, 'batch', 1]);
    return g.bytes();
  };

  it('the verdict on data: samples that are forgotten win, and the witness is told beside it', async () => {
    // Inputs that are strong all the time overwrite whatever was there.
    const random = new Random(4);
    const [sequences, steps] = [80, 60];
    const data = Float32Array.from({ length: sequences * steps }, () => random.pick([-1, 1]) * random.uniform(3, 4));
    const samples = npz({ x: npy(data, [sequences, steps, 1]) });
    const onData = { ...options, quantile: 0.9 };
    const report = await check(files(remembering(), samples), onData, runtime, silent);
    expect(report.verdict).toBe('stable-on-data');
    expect(report.safeLength).toMatchObject({ basis: 'samples' });
    expect(report.witness?.persistent).toBe(true);
    expect(report.diagnostics.find((d) => d.code === 'witness-found')?.severity).toBe('information');
  });

  it('anything where a certificate holds, or where the length is fixed: nothing is searched', async () => {
    const certified = graph();
    const x = certified.input('x', ['time', 'batch', 1]);
    certified.output(certified.recurrent('RNN', x, { hidden: 1, input: 1 }, tanhUnit(certified, 0.5)).yH, [1, 'batch', 1]);
    expect((await check(files(certified.bytes()), options, runtime, silent)).witness).toBeUndefined();
    const fixed = graph();
    fixed.output(fixed.recurrent('RNN', fixed.input('x', [9, 1, 1]), { hidden: 1, input: 1 }, tanhUnit(fixed)).yH, [1, 1, 1]);
    expect((await check(files(fixed.bytes()), options, runtime, silent)).witness).toBeUndefined();
  });

  it('the model, where only a layer by itself remembers', async () => {
    const g = graph();
    const lower = g.squeeze(
      g.recurrent('RNN', g.input('x', ['time', 'batch', 1]), { hidden: 1, input: 1 }, tanhUnit(g, 0.5)).y,
      1,
    );
    // An operator that is not understood stands between; what the upper layer reads is not followed through it.
    const upper = g.recurrent('RNN', g.node('Erf', [lower]), { hidden: 1, input: 1 }, tanhUnit(g));
    g.output(upper.yH, [1, 'batch', 1]);
    const report = await check(files(g.bytes()), options, runtime, silent);
    expect(report.witness).toMatchObject({ of: 'layer', layers: [report.layers[1]!.name], replay: null });
    expect(report.verdict).toBe('inconclusive');
    const finding = report.diagnostics.find((d) => d.code === 'witness-found')!;
    expect(finding).toMatchObject({ severity: 'information', layer: report.layers[1]!.name });
    expect(finding.message).toContain('No certificate of that layer can hold');
  });

  it('a cancelled check: it stops in the middle of the search', async () => {
    const g = graph();
    g.output(g.recurrent('RNN', g.input('x', ['time', 'batch', 24]), { hidden: 48, input: 24 }, (d) => g.weight(d, 1)).yH, [
      1,
      'batch',
      48,
    ]);
    const steps: string[] = [];
    const cancelled = check(files(g.bytes()), options, runtime, (step) => {
      steps.push(step);
      return step.startsWith('Searching') ? Promise.reject(new Error('cancelled')) : Promise.resolve();
    });
    await expect(cancelled).rejects.toThrow('cancelled');
    expect(steps.filter((s) => s.startsWith('Searching'))).toHaveLength(1);
    expect(steps.at(-1)).toMatch(/^Searching/);
  });
});

describe('the forms of a report', () => {
  it('all tell it', async () => {
    const g = graph();
    g.output(g.recurrent('RNN', g.input('x', ['time', 'batch', 1]), { hidden: 1, input: 1 }, tanhUnit(g)).yH, [1, 'batch', 1]);
    const report = await check(files(g.bytes()), options, runtime, silent);
    const row = 'the recurrent output is 1.915 apart after 3000 common steps (replayed in ONNX Runtime)';
    expect(textReport(report).replace(/\s+/g, ' ')).toContain(row);
    expect(markdownReport(report)).toContain(row.replace('(', '\\(').replace(')', '\\)'));
    expect(JSON.stringify(sarifReport([report], '0.0.0'))).toContain('"ruleId":"witness-found"');
    expect(report.diagnostics[1]!.message).toContain('errs by at least 0.9575 on one of them');
  });
});

const dtln = ['dtln', 'model_1.onnx'] as const;
describe.skipIf(!hasCheckpoint(...dtln))('dtln model_1', () => {
  it('remembers for thousands of frames: two histories, one input, still apart after 3,000 calls of the file', async () => {
    const path = checkpointPath(...dtln);
    const report = await check(nodeFiles(path), options, runtime, silent);
    expect(report.verdict).toBe('unstable');
    // Cell states whose boxes reach 10¹³ must not drown the lower bound.
    for (const layer of report.layers) expect(layer.lambdaLowerBound).toBeGreaterThan(1);
    const w = report.witness!;
    expect(w.of).toBe('model');
    expect(w.layers.length).toBeGreaterThan(0);
    expect(w.replay).toMatchObject({ steps: 3000, staysApart: true });
    // By the state that the file returns: [1, layers, units, h and c].
    const session = await runtime.load(await nodeFiles(path).read());
    const ends: Tensor[] = [];
    for (const side of [0, 1] as const) {
      const { common } = w;
      const history = values({ ...w, common: { ...common, steps: 3000 } }, side, 'input_2');
      let state: Tensor = { type: DataType.FLOAT, dims: [1, 2, 128, 2], data: new Float64Array(512) };
      for (const row of history) {
        const frame: Tensor = { type: DataType.FLOAT, dims: [1, 1, 257], data: Float64Array.from(row) };
        state = (await session.run(new Map([['input_2', frame], ['input_3', state]]))).get('tf_op_layer_stack_2')!; // prettier-ignore
      }
      ends.push(state);
    }
    await session.release();
    const h = (t: Tensor): Tensor => ({ ...t, data: t.data.subarray(256).filter((_, i) => i % 2 === 0) });
    expect(apart(h(ends[0]!), h(ends[1]!))).toBeCloseTo(w.replay!.distance, 3);
    expect(w.replay!.distance).toBeGreaterThan(0.1);
  });
});
