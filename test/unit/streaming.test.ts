import { describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.js';
import { readModel } from '../../src/checkpoint/onnx/model.js';
import { DataType, type Tensor } from '../../src/checkpoint/onnx/tensor.js';
import { BadInputError } from '../../src/errors.js';
import { check } from '../../src/jobs/check.js';
import { exportTruncated } from '../../src/jobs/export.js';
import { defaultCheckOptions, type CheckOptions, type CheckpointFiles } from '../../src/jobs/jobs.js';
import type { StabilityReport } from '../../src/report/report.js';
import { sampleMargin } from '../../src/stability/sampleRange.js';
import { npy, npz } from '../../examples/training/npz.js';
import { Random } from '../support/random.js';
import { runModel, runtime } from '../support/runtime.js';
import { TestGraph } from '../support/testGraph.js';

/** What users say of a streaming model: ranges, samples, the place of the error, values of inputs, pairs and first states. */

const silent = () => Promise.resolve();
const options: CheckOptions = { ...defaultCheckOptions, maxLength: 24 };
const H = 4;
const I = 3;

/** One GRU over frames x [1, 1, 3] with a dense layer behind it that makes errors `gain` times as large, or more. */
function model(gain = 1): Uint8Array {
  const g = new TestGraph(17, new Random(21));
  const x = g.input('x', [1, 1, I]);
  const small = (dims: readonly number[]) => g.weight(dims, 0.25);
  const { y, yH } = g.recurrent('GRU', x, { hidden: H, input: I, initialH: g.input('h', [1, 1, H]) }, small);
  g.output(g.node('Mul', [g.dense(g.squeeze(g.squeeze(y, 1), 0), H, 2), g.floats([gain])], {}, ['y']), [1, 2]);
  g.output(g.node('Identity', [yH], {}, ['hn']), [1, 1, H]);
  return g.bytes();
}

function files(bytes: Uint8Array, samples?: { name: string; bytes: Uint8Array }): CheckpointFiles {
  return {
    name: 'stream.onnx',
    read: () => Promise.resolve(bytes),
    readSibling: () => Promise.resolve(undefined),
    ...(samples ? { samples: { name: samples.name, read: () => Promise.resolve(samples.bytes) } } : {}),
  };
}

const run = (bytes: Uint8Array, changes: Partial<CheckOptions> = {}, samples?: { name: string; bytes: Uint8Array }) =>
  check(files(bytes, samples), { ...options, ...changes }, runtime, silent);

/** [sequences, frames, 3] between −1 and 1, times a factor for each feature. */
function sequences(count: number, frames: number, scale: readonly number[]): Float32Array {
  const random = new Random(31);
  return Float32Array.from({ length: count * frames * I }, (_, i) => (2 * random.next() - 1) * scale[i % I]!);
}

describe('the place of the error', () => {
  it('is h of the layers where they are certified, and the outputs where that is asked for', async () => {
    const bytes = model(50);
    const recurrent = await run(bytes);
    const output = await run(bytes, { at: 'output' });
    expect(recurrent.streaming!.errorOf).toBe('recurrent');
    expect(output.streaming!.errorOf).toBe('outputs');
    expect(recurrent.curve.bound).not.toBeNull();
    // Both reports measure the outputs; only one of them makes ε of it.
    expect(output.curve.measured).toEqual(recurrent.streaming!.outputMeasured);
    expect(output.curve.measured![1]).toBeGreaterThan(2 * recurrent.curve.measured![1]!);
    // The bound follows h through the dense layer to the outputs.
    output.curve.measured!.forEach((error, k) => expect(error).toBeLessThanOrEqual(output.curve.bound![k]! + 1e-5));
    expect(output.curve.bound![1]).toBeGreaterThan(recurrent.curve.bound![1]!);
    expect(output.curve.bound!.at(-1)).toBeLessThan(output.curve.bound![1]! / 10);
  });

  it('the measured curve has its band and says where the worst was seen', async () => {
    const { curve } = await run(model());
    expect(curve.band!.share).toBe(options.quantile);
    curve.measured!.forEach((worst, i) => {
      expect(curve.band!.median[i]).toBeLessThanOrEqual(curve.band!.quantile[i]!);
      expect(curve.band!.quantile[i]).toBeLessThanOrEqual(worst);
      expect(curve.worstAt!.sequence[i]).toBeLessThan(curve.measuredOn!.sequences);
      expect(curve.worstAt!.position[i]).toBeGreaterThanOrEqual(curve.k[i]! - 1);
    });
  });
});

describe('the input range', () => {
  it('is one for each feature where it is stated so, and a narrow one certifies more', async () => {
    const wide = await run(model(), { inputRange: { lower: -20, upper: 20 } });
    const narrow = await run(model(), { inputRange: { lower: [-20, -0.1, 0], upper: [20, 0.1, 0], sources: {} } });
    expect(narrow.inputRange.source).toBe('user');
    expect(narrow.lambda).toBeLessThan(wide.lambda!);
    await expect(run(model(), { inputRange: { lower: [-1, -1], upper: [1, 1] } })).rejects.toMatchObject({
      code: 'bad-input-range',
    });
  });

  it('comes from the samples feature by feature, with the margin', async () => {
    const bytes = npz({ x: npy(sequences(4, 40, [1, 10, 0.1]), [4, 40, 1, 1, I]) });
    const report = await run(model(), { inputRange: 'samples' }, { name: 's.npz', bytes });
    expect(report.inputRange.source).toBe('samples');
    expect(report.diagnostics.map((d) => d.code)).toContain('range-from-samples');
    expect(report.inputRange.upper as number).toBeGreaterThan(10 * (1 + sampleMargin));
    expect(report.inputRange.upper as number).toBeLessThan(10 * (1 + 3 * sampleMargin));
    // A range of 10 in all features would certify less than one that is wide in a single feature.
    const hull = { lower: report.inputRange.lower as number, upper: report.inputRange.upper as number };
    expect(report.lambda).toBeLessThan((await run(model(), { inputRange: hull })).lambda!);
    await expect(run(model(), { inputRange: 'samples' })).rejects.toMatchObject({ code: 'bad-samples' });
  });
});

describe('samples', () => {
  const data = sequences(2, 40, [1, 1, 1]);
  const rows = Array.from({ length: 40 }, (_, t) => Array.from(data.subarray(t * I, (t + 1) * I)));
  const text = (s: string) => new TextEncoder().encode(s);
  const forms: [string, string, Uint8Array, number][] = [
    ['frames as they are fed', 's.npz', npz({ x: npy(data, [2, 40, 1, 1, I]) }), 2],
    ['frames behind each other along one axis', 's.npz', npz({ x: npy(data, [2, 40, I]) }), 2],
    ['one stream', 's.npz', npz({ x: npy(data.subarray(0, 40 * I), [40, 1, 1, I]) }), 1],
    ['an array without a name', 's.npy', npy(data, [2, 40, 1, 1, I]), 2],
    ['lists', 's.json', text(JSON.stringify({ x: rows.map((row) => [[row]]) })), 1],
  ];

  it.each(forms)('are read as %s', async (_, name, bytes, count) => {
    const report = await run(model(), {}, { name, bytes });
    expect(report.curve.measuredOn).toMatchObject({ source: 'samples', sequences: count });
    expect(report.data!.source).toBe('samples');
  });

  it('the same numbers give the same curve in every form', async () => {
    const [first, second] = await Promise.all(forms.slice(0, 2).map(([, name, bytes]) => run(model(), {}, { name, bytes })));
    expect(second!.curve.measured).toEqual(first!.curve.measured);
  });

  it('that do not fit are refused with both shapes', async () => {
    const bytes = npz({ x: npy(new Float32Array(2 * 40 * 5), [2, 40, 1, 1, 5]) });
    await expect(run(model(), {}, { name: 's.npz', bytes })).rejects.toThrow(/\[2, 40, 1, 1, 5\].*\[1, 1, 3\]/);
    const other = npz({ z: npy(data, [2, 40, I]), u: npy(data, [2, 40, I]) });
    await expect(run(twoInputs(), {}, { name: 's.npz', bytes: other })).rejects.toThrow(/no array named "a"/);
  });

  it('enough streams give a length with its confidence', async () => {
    const many = npz({ x: npy(sequences(60, 60, [1, 1, 1]), [60, 60, 1, 1, I]) });
    const loose = { quantile: 0.9, maxLength: 15, epsilon: 1e-2, at: 'output' as const };
    const report = await run(model(), loose, { name: 's.npz', bytes: many });
    expect(report.safeLength).toMatchObject({ basis: 'samples', sequences: 60, quantile: 0.9 });
    expect(report.streaming!.cost).toMatchObject({ k: report.safeLength!.k });
    expect(report.streaming!.cost!.statelessMilliseconds).toBeGreaterThan(0);
    expect(report.streaming!.cost!.stateBytes).toBe(4 * H);
  });
});

/** A leak fed by two inputs of their own. */
function twoInputs(): Uint8Array {
  const g = new TestGraph(17, new Random(3));
  const sum = g.node('Add', [g.input('a', [1, 2]), g.input('b', [1, 2])]);
  const next = g.node('Add', [g.node('Mul', [g.input('state', [1, 2]), g.floats([0.5])]), sum], {}, ['state_out']);
  g.output(g.node('Tanh', [next]), [1, 2]);
  g.output(next, [1, 2]);
  return g.bytes();
}

describe('what only the user knows', () => {
  const question = async (bytes: Uint8Array): Promise<BadInputError> => {
    const error: unknown = await openCheckpoint(files(bytes), { set: {}, states: {} }, runtime).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(BadInputError);
    return error as BadInputError;
  };

  /** Weights chosen by an integer that the graph compares with several values. */
  function switched(values: readonly number[]): Uint8Array {
    const g = new TestGraph(17, new Random(4));
    const [x, state] = [g.input('x', [1, 1, I]), g.input('state', [1, 1, H])];
    g.input('mode', [], DataType.INT64);
    const small = (b: TestGraph) => (dims: readonly number[]) => b.weight(dims, 0.25);
    const branch = (i: number): TestGraph => {
      const b = new TestGraph(17, new Random(40 + i), `b${i}/`);
      if (i + 1 < values.length) {
        const asked = b.node('Equal', ['mode', b.integers([values[i + 1]!], [])]);
        const attributes = { then_branch: leaf(100 + i).body(), else_branch: branch(i + 1).body() };
        b.output(b.node('If', [asked], attributes, [`b${i}/h`]), [1, 1, H]);
        return b;
      }
      return leaf(200 + i);
    };
    const leaf = (seed: number) => {
      const b = new TestGraph(17, new Random(seed), `l${seed}/`);
      const operands = [x, small(b)([1, 3 * H, I]), small(b)([1, 3 * H, H]), '', '', state];
      b.node('GRU', operands, { hidden_size: H }, ['', `l${seed}/h`]);
      b.output(`l${seed}/h`, [1, 1, H]);
      return b;
    };
    const asked = g.node('Equal', ['mode', g.integers([values[0]!], [])]);
    g.node('If', [asked], { then_branch: leaf(1).body(), else_branch: branch(0).body() }, ['state_out']);
    g.output('state_out', [1, 1, H]);
    g.output(g.node('Tanh', ['state_out']), [1, 1, H]);
    return g.bytes();
  }

  it('one value that a graph asks about is assumed, said, and can be answered', async () => {
    const report = await run(switched([7]));
    const assumed = report.diagnostics.find((d) => d.code === 'input-value-assumed')!;
    expect(assumed.message).toContain('mode=7');
    expect(assumed.question).toEqual({ about: 'set', answers: ['mode=7'] });
    const other = await run(switched([7]), { set: { mode: '8' } });
    expect(other.diagnostics.map((d) => d.code)).not.toContain('input-value-assumed');
    expect(other.lambda).not.toBe(report.lambda);
  });

  it('of several values none is assumed: the question names them all', async () => {
    const error = await question(switched([7, 9]));
    expect(error.code).toBe('input-not-set');
    expect(error.question).toEqual({ about: 'set', answers: ['mode=7', 'mode=9'] });
    expect((await run(switched([7, 9]), { set: { mode: '9' } })).layers).toHaveLength(1);
  });

  it('state pairs that could be either way round are a question, and its answer is followed', async () => {
    const g = new TestGraph(17, new Random(5));
    const [a, b] = [g.input('state_in_1', [1, 2]), g.input('state_in_2', [1, 2])];
    const mix = (scale: number, out: string) =>
      g.node('Add', [g.node('Mul', [g.node('Add', [a, b]), g.floats([scale])]), g.input(`x_${out}`, [1, 2])], {}, [out]);
    g.output(mix(0.2, 'state_left'), [1, 2]);
    g.output(mix(0.3, 'state_right'), [1, 2]);
    g.output(g.node('Tanh', ['state_left'], {}, ['y']), [1, 2]);
    const bytes = g.bytes();
    const error = await question(bytes);
    expect(error.code).toBe('state-pairs-ambiguous');
    expect(error.question!.about).toBe('states');
    expect(error.question!.answers).toContain('state_in_1=state_right');
    const states = { state_in_1: 'state_right', state_in_2: 'state_left' };
    const report = await run(bytes, { states });
    expect(report.streaming!.states.map((s) => `${s.input}=${s.output}`)).toEqual([
      'state_in_1=state_right',
      'state_in_2=state_left',
    ]);
  });

  it.each([
    [{ set: { nothing: '1' } }, 'unknown-input'],
    [{ set: { x: 'loud' } }, 'bad-setting'],
    [{ set: { x: '1x2x4' } }, 'bad-setting'],
    [{ states: { h: 'nothing' } }, 'bad-state-pair'],
    [{ states: { x: 'hn' } }, 'bad-state-pair'],
  ])('%o is refused as %s', async (changes, code) => {
    await expect(run(model(), changes)).rejects.toMatchObject({ code });
  });
});

describe('a given initial state', () => {
  const first = [0.9, -0.8, 0.7, -0.6];
  const set = { h: first.join(',') };

  it('is where streams and truncated ones start, and what certificates are for', async () => {
    const zero = await run(model());
    const given = await run(model(), { set });
    expect(given.streaming!.states).toEqual(zero.streaming!.states);
    expect(given.curve.measured).not.toEqual(zero.curve.measured);
    expect(given.curve.bound![1]).toBeGreaterThan(zero.curve.bound![1]!);
    given.curve.measured!.forEach((error, k) => expect(error).toBeLessThanOrEqual(given.curve.bound![k]! + 1e-6));
  });

  it('is what the exported model starts from: ONNX Runtime on both files', async () => {
    const k = 3;
    const { model: bytes } = await exportTruncated(files(model()), { ...options, set, length: k }, runtime, silent);
    expect(readModel(bytes).graph.input.map((i) => i.name)).toEqual(['x']);
    const data = Float64Array.from(sequences(1, k, [1, 1, 1]));
    const [answer] = (await runModel(bytes, new Map([['x', { type: DataType.FLOAT, dims: [k, 1, 1, I], data }]]))).values();
    let h: Float64Array = Float64Array.from(first);
    let y: Float64Array = new Float64Array();
    for (let t = 0; t < k; t++) {
      const x: Tensor = { type: DataType.FLOAT, dims: [1, 1, I], data: data.subarray(t * I, (t + 1) * I) };
      const state: Tensor = { type: DataType.FLOAT, dims: [1, 1, H], data: h };
      const out = await runModel(
        model(),
        new Map([
          ['x', x],
          ['h', state],
        ]),
      );
      h = out.get('hn')!.data;
      y = out.get('y')!.data;
    }
    answer!.data.forEach((v, i) => expect(v).toBeCloseTo(y[i]!, 6));
  });
});

it('the report can be sent and stored: it is plain data', async () => {
  const report: StabilityReport = await run(twoInputs());
  expect(JSON.parse(JSON.stringify(report))).toEqual(report);
  expect(structuredClone(report)).toEqual(report);
});
