import { describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.js';
import { readModel } from '../../src/checkpoint/onnx/model.js';
import { DataType, type Tensor } from '../../src/checkpoint/onnx/tensor.js';
import { check } from '../../src/jobs/check.js';
import { exportTruncated } from '../../src/jobs/export.js';
import { defaultCheckOptions, type CheckpointFiles } from '../../src/jobs/jobs.js';
import { Random } from '../support/random.js';
import { largestError } from '../support/reference.js';
import { runModel, runtime } from '../support/runtime.js';
import { writtenGruAfter, writtenLstm } from '../support/streamingModels.js';
import { TestGraph } from '../support/testGraph.js';

/** Recurrences written as Loop and Scan: cells become layers, other bodies state maps; both answer as the file does. */

const silent = () => Promise.resolve();
const options = { ...defaultCheckOptions, maxLength: 24 };
const inMemory = (bytes: Uint8Array): CheckpointFiles => ({
  name: 'loop.onnx',
  read: () => Promise.resolve(bytes),
  readSibling: () => Promise.resolve(undefined),
});

const H = 4;
const B = 1;

const body = (g: TestGraph, prefix: string) => new TestGraph(g.opset, g.random, prefix);

/** A Scan over x [time, B, I] that carries states of [B, H] from zero and stacks the first output. */
function scan(
  g: TestGraph,
  x: string,
  inputs: number,
  states: number,
  step: (b: TestGraph, x: string, s: string[]) => { next: string[]; y: string },
  attributes = {},
): { y: string; finals: string[] } {
  const b = body(g, 'body/');
  const names = Array.from({ length: states }, (_, i) => b.input(`body/s${i}`, [B, H]));
  const { next, y } = step(b, b.input('body/x', [B, inputs]), names);
  for (const s of next) b.output(s, [B, H]);
  b.output(b.node('Identity', [y]), [B, H]);
  const zeros = names.map(() => g.node('Expand', [g.floats([0]), g.integers([B, H])]));
  const outputs = [...names.map((_, i) => `final${i}`), 'stacked'];
  g.node('Scan', [...zeros, x], { num_scan_inputs: 1, body: b.body(), ...attributes }, outputs);
  return { y: 'stacked', finals: outputs.slice(0, -1) };
}

/** A Loop over x [time, B, I] whose trip count is the length of x, reading one step by its iteration number. */
function loop(
  g: TestGraph,
  x: string,
  states: string[],
  step: (b: TestGraph, x: string, s: string[]) => { next: string[]; y: string },
): { y: string; finals: string[] } {
  const trips = g.node('Gather', [g.node('Shape', [x]), g.integers([0], [])], { axis: 0 });
  const b = body(g, 'body/');
  const [i, goOn] = [b.input('body/i', [], DataType.INT64), b.input('body/cond', [], DataType.BOOL)];
  const names = states.map((_, n) => b.input(`body/s${n}`, [B, H]));
  const { next, y } = step(b, b.node('Gather', [x, i], { axis: 0 }), names);
  b.output(b.node('Identity', [goOn]), [], DataType.BOOL);
  for (const s of next) b.output(s, [B, H]);
  b.output(b.node('Identity', [y]), [B, H]);
  const outputs = [...states.map((_, n) => `final${n}`), 'stacked'];
  g.node('Loop', [trips, '', ...states], { body: b.body() }, outputs);
  return { y: 'stacked', finals: outputs.slice(0, -1) };
}

const zeroState = (g: TestGraph) => g.node('Expand', [g.floats([0]), g.integers([B, H])]);

/** A cell of no known kind: a leak whose rate the input gates. */
function unknownCell(b: TestGraph, x: string, inputs: number, h: string): string {
  const mixed = b.node('Add', [b.node('MatMul', [x, b.weight([inputs, H], 0.5)]), b.node('MatMul', [h, b.weight([H, H], 0.15)])]);
  const kept = b.node('Mul', [b.node('Mul', [b.node('Sigmoid', [mixed]), h]), b.floats([0.6])]);
  return b.node('Add', [kept, b.node('Mul', [b.node('Softsign', [mixed]), b.floats([0.5])])]);
}

interface Written {
  readonly name: string;
  readonly cells: readonly string[];
  /** True where the body is analysed as a state map. */
  readonly general?: boolean;
  build(g: TestGraph): void;
}

const written: readonly Written[] = [
  {
    name: 'Scan of an LSTM',
    cells: ['lstm'],
    build(g) {
      const { y, finals } = scan(g, g.input('x', ['time', B, 3]), 3, 2, (b, x, [h, c]) => {
        const next = writtenLstm(b, x, 3, h!, c!);
        return { next: [next.h, next.c], y: next.h };
      });
      g.output(g.node('Tanh', [y]), ['time', B, H]);
      g.output(g.node('Identity', [finals[1]!]), [B, H]);
    },
  },
  {
    name: 'Loop of a GRU, its weights stored outside',
    cells: ['gru'],
    build(g) {
      const x = g.node('Relu', [g.dense(g.input('x', ['time', B, 5]), 5, 3)]);
      const { y } = loop(g, x, [zeroState(g)], (b, at, [h]) => {
        const outside = new Proxy(b, {
          get: (target, key) => (key === 'weight' ? g.weight.bind(g) : (Reflect.get(target, key) as unknown)),
        });
        const next = writtenGruAfter(outside, at, 3, h!);
        return { next: [next], y: next };
      });
      g.output(g.dense(y, H, 2), ['time', B, 2]);
    },
  },
  {
    name: 'Scan of two stacked cells',
    cells: ['gru', 'rnn'],
    build(g) {
      const { y } = scan(g, g.input('x', ['time', B, 3]), 3, 2, (b, x, [low, high]) => {
        const below = writtenGruAfter(b, x, 3, low!);
        const sum = b.node('Add', [
          b.node('MatMul', [below, b.weight([H, H], 0.4)]),
          b.node('MatMul', [high!, b.weight([H, H], 0.3)]),
        ]);
        const above = b.node('Tanh', [b.node('Add', [sum, b.weight([H], 0.2)])]);
        return { next: [below, above], y: above };
      });
      g.output(y, ['time', B, H]);
    },
  },
  {
    name: 'Scan of a cell of no known kind, between dense layers',
    cells: [],
    general: true,
    build(g) {
      const x = g.node('Tanh', [g.dense(g.input('x', ['time', B, 5]), 5, 3)]);
      const { y } = scan(g, x, 3, 1, (b, at, [h]) => {
        const next = unknownCell(b, at, 3, h!);
        return { next: [next], y: next };
      });
      g.output(g.dense(y, H, 2), ['time', B, 2]);
    },
  },
  {
    name: 'Loop of a cell of no known kind, from a stored state, batch first',
    cells: [],
    general: true,
    build(g) {
      const x = g.transpose(g.input('x', [B, 'time', 3]), 1, 0, 2);
      const { y, finals } = loop(g, x, [g.weight([B, H], 0.9)], (b, at, [h]) => {
        const next = unknownCell(b, at, 3, h!);
        return { next: [next], y: next };
      });
      g.output(g.transpose(y, 1, 0, 2), [B, 'time', H]);
      g.output(g.node('Identity', [finals[0]!]), [B, H]);
    },
  },
  {
    name: 'Loop of a cell of no known kind, its state given by the caller',
    cells: [],
    general: true,
    build(g) {
      const x = g.input('x', ['time', B, 3]);
      const { finals } = loop(g, x, [g.input('h0', [B, H])], (b, at, [h]) => {
        const next = unknownCell(b, at, 3, h!);
        return { next: [next], y: next };
      });
      g.output(g.dense(finals[0]!, H, 2), [B, 2]);
    },
  },
];

function build(style: Written): Uint8Array {
  const g = new TestGraph(13, new Random(4400));
  style.build(g);
  return g.bytes();
}

describe.each(written)('$name', (style) => {
  const bytes = build(style);
  const general = style.general ?? false;

  it('is recognised for what it is', async () => {
    const report = await check(inMemory(bytes), options, runtime, silent);
    expect(report.layers.map((l) => l.cell)).toEqual(style.cells);
    expect(report.streaming !== undefined).toBe(general);
    if (!general) return;
    expect(report.streaming!.states).toHaveLength(1);
    expect(report.streaming!.certificate).toMatchObject({ name: 'comparison-operator', holds: true });
    expect(report.verdict).toBe('stable');
    expect(report.safeLength).toMatchObject({ basis: 'certified' });
    expect(report.diagnostics.find((d) => d.code === 'streaming-model')!.message).toMatch(/What recurs is (Loop|Scan)/);
    report.curve.measured!.forEach((error, k) => expect(error).toBeLessThanOrEqual(report.curve.bound![k]! + 1e-5));
  });

  it('is exported, and answers on a window as the file does on the same sequence', async () => {
    const k = 7;
    const { model, verification } = await exportTruncated(inMemory(bytes), { ...options, length: k }, runtime, silent);
    expect(verification.passed).toBe(true);
    const { graph } = readModel(model);
    expect(graph.node.filter((n) => /^(RNN|LSTM|GRU|Loop|Scan|If)$/.test(n.opType))).toEqual([]);

    const { graph: original } = readModel(bytes);
    const random = new Random(77);
    const feeds = new Map<string, Tensor>();
    for (const info of original.input) {
      const type = info.type!.value as { value: { shape: { dim: { value: { case?: string; value?: bigint } }[] } } };
      const dims = type.value.shape.dim.map((d) => (d.value.case === 'dimValue' ? Number(d.value.value) : k));
      const data = Float64Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => Math.fround(2 * random.next() - 1));
      feeds.set(info.name, { type: DataType.FLOAT, dims, data: info.name === 'h0' ? data.map(() => 0) : data });
    }
    const theirs = await runModel(bytes, feeds);
    expect(graph.input.map((i) => i.name)).toEqual(original.input.map((i) => i.name).filter((name) => name !== 'h0'));
    const ours = await runModel(model, new Map([...feeds].filter(([name]) => name !== 'h0')));
    for (const [name, { data }] of ours) {
      const all = theirs.get(name)!;
      // The window gives the last step of what has an axis of steps.
      expect(largestError(data, all.data.subarray(all.data.length - data.length)), name).toBeLessThan(1e-5);
    }
  });
});

describe('loops that cannot be run step by step are refused with the reason', () => {
  const refusal = async (make: (g: TestGraph) => void) => {
    const g = new TestGraph(13, new Random(5));
    make(g);
    const error: unknown = await openCheckpoint(inMemory(g.bytes()), { set: {}, states: {} }, runtime).catch((e: unknown) => e);
    expect(error).toMatchObject({ name: 'BadInputError', code: 'recurrence-in-control-flow' });
    return (error as Error).message;
  };
  const step = (b: TestGraph, x: string, [h]: string[]) => {
    const next = unknownCell(b, x, 3, h!);
    return { next: [next], y: next };
  };

  it('a Scan that reads its sequence backwards', async () => {
    const message = await refusal((g) => {
      const { y } = scan(g, g.input('x', ['time', B, 3]), 3, 1, step, { scan_input_directions: [1] });
      g.output(y, ['time', B, H]);
    });
    expect(message).toContain('does not read a sequence step by step');
  });

  it('a graph that mixes the steps behind the loop', async () => {
    const message = await refusal((g) => {
      const { y } = scan(g, g.input('x', ['time', B, 3]), 3, 1, step);
      g.output(g.node('CumSum', [y, g.integers([0], [])]), ['time', B, H]);
    });
    expect(message).toContain('gives another answer');
  });

  it('a state that starts from the input', async () => {
    const message = await refusal((g) => {
      const x = g.input('x', ['time', B, 3]);
      const first = g.dense(g.node('ReduceMean', [x], { axes: [0], keepdims: 0 }), 3, H);
      const { y } = loop(g, x, [first], step);
      g.output(y, ['time', B, H]);
    });
    expect(message).toContain('starts from something that is computed');
  });
});
