import { describe, expect, it } from 'vitest';
import { outputSignals } from '../../src/checkpoint/onnx/outputSignals.js';
import { readOnnx } from '../../src/checkpoint/onnx/reader.js';
import { writeModel } from '../../src/checkpoint/onnx/model.js';
import { withOutputs } from '../../src/checkpoint/onnx/exposed.js';
import { DataType } from '../../src/checkpoint/onnx/tensor.js';
import { runtimeHead, signalHead } from '../../src/measurement/outputHead.js';
import { walkSignal, type SourceSignal } from '../../src/network/signal.js';
import { signalValue } from '../../src/network/signalValues.js';
import { box, type Box } from '../../src/stability/interval.js';
import { freeSources } from '../../src/stability/networkBounds.js';
import { signalBox, signalDeviation } from '../../src/stability/signalBounds.js';
import { Random } from '../support/random.js';
import { largestError } from '../support/reference.js';
import { runModel, runtime } from '../support/runtime.js';
import { TestGraph } from '../support/testGraph.js';

/** Operators before and behind a recurrent layer: values against ONNX Runtime, ranges and deviations against random attacks. */

const features = 6;
/** Each maps [time, batch, 6] to [time, batch, ?]; the channels of convolutions stand second. */
const operators: Record<string, (g: TestGraph, x: string) => string> = {
  Softmax: (g, x) => g.node('Softmax', [x], { axis: 2 }),
  LogSoftmax: (g, x) => g.node('LogSoftmax', [x], { axis: -1 }),
  'dense and Softmax': (g, x) => g.node('Softmax', [g.dense(x, features, 4)], { axis: -1 }),
  LayerNormalization: (g, x) => g.node('LayerNormalization', [x, g.weight([features], 1), g.weight([features], 1)], { axis: -1 }),
  Neg: (g, x) => g.node('Neg', [x]),
  Abs: (g, x) => g.node('Abs', [x]),
  Clip: (g, x) => g.node('Clip', [x, g.scalar(-0.4), g.scalar(0.3)]),
  'Clip from below': (g, x) => g.node('Clip', [x, g.scalar(-0.2)]),
  Max: (g, x) => g.node('Max', [x, g.weight([features])]),
  Min: (g, x) => g.node('Min', [x, g.weight([features])]),
  PRelu: (g, x) => g.node('PRelu', [x, g.weight([features], 2)]),
  Selu: (g, x) => g.node('Selu', [x]),
  HardSwish: (g, x) => g.node('HardSwish', [x]),
  'x · sigmoid(x)': (g, x) => g.node('Mul', [x, g.node('Sigmoid', [x])]),
  'a square': (g, x) => g.node('Pow', [x, g.scalar(2)]),
  ReduceMean: (g, x) => g.node('ReduceMean', [x], { axes: [2], keepdims: 1 }),
  'a convolution over one position': (g, x) => {
    const y = g.node('Conv', [g.transpose(x, 1, 2, 0), g.weight([4, features, 1]), g.weight([4])], { kernel_shape: [1] });
    return g.transpose(y, 2, 0, 1);
  },
};

function inBox(b: Box, random: Random): Float64Array {
  return b.lower.map((v, i) => v + (b.upper[i]! - v) * random.pick([0, 1, random.next(), random.next()]));
}

/** The outputs of a GRU through an operator. */
function behind(operator: (g: TestGraph, x: string) => string, seed: number) {
  const g = new TestGraph(17, new Random(seed));
  const { y } = g.recurrent('GRU', g.input('x', ['time', 'batch', 2]), { hidden: features, input: 2 });
  g.output(operator(g, g.squeeze(y, 1)), ['time', 'batch', 'any']);
  return readOnnx(g.bytes(), new Map());
}

describe.each(Object.keys(operators))('%s', (name) => {
  const operator = operators[name]!;

  it('behind a layer: the signal is what ONNX Runtime computes, and an error of the layer moves it by no more than the bound', async () => {
    for (let seed = 1; seed <= 3; seed++) {
      const random = new Random(100 * seed);
      const checkpoint = behind(operator, seed);
      const [output] = outputSignals(checkpoint);
      expect(output!.blockedBy).toBeNull();
      const rows = 40;
      const hidden = [{ data: random.vector(rows * features), width: features }];
      const places = Array.from({ length: rows }, () => ({ sequence: 0, position: 0 }));
      const ours = await signalHead([output!], [new Map()]).evaluate(hidden, places);
      const head = await runtimeHead(checkpoint, [output!.name], runtime);
      const theirs = await head.evaluate(hidden, places);
      await head.release();
      expect(largestError(ours, theirs)).toBeLessThan(2e-5);

      const layer = seed === 1 ? box(features, -1, 1) : boxAround(random);
      const boxOf = (s: Parameters<typeof signalBox>[0]) => signalBox(s, unreachable, () => layer);
      const range = boxOf(output!.signal);
      const deviation = signalDeviation(output!.signal, boxOf)!;
      let closest = 0;
      for (let i = 0; i < 400; i++) {
        const a = inBox(layer, random);
        const size = random.pick([1, 0.1, 1e-3]);
        const b = inBox(layer, random).map((v, j) => a[j]! + size * (v - a[j]!));
        const [fa, fb] = [a, b].map((h) => signalValue(output!.signal, unreachable, () => h)) as [Float64Array, Float64Array];
        const bound = deviation(() => a.map((v, j) => Math.abs(v - b[j]!)));
        fa.forEach((v, j) => {
          expect(v).toBeGreaterThanOrEqual(range.lower[j]!);
          expect(v).toBeLessThanOrEqual(range.upper[j]!);
          const moved = Math.abs(v - fb[j]!);
          expect(moved).toBeLessThanOrEqual(bound[j]! + 1e-14);
          if (bound[j]! > 0) closest = Math.max(closest, moved / bound[j]!);
        });
      }
      // A bound that is far off would be right and useless. Where features can be equal, normalising them magnifies without much limit.
      expect(closest).toBeGreaterThan(name === 'LayerNormalization' && seed === 1 ? 0.001 : 0.1);
    }
  });

  it('in front of a layer: the range holds what ONNX Runtime computes', async () => {
    const random = new Random(7);
    const g = new TestGraph(17, random);
    const front = operator(g, g.input('x', ['time', 'batch', features]));
    const size = name.startsWith('dense') || name.startsWith('a convolution') ? 4 : name === 'ReduceMean' ? 1 : features;
    g.output(g.recurrent('GRU', front, { hidden: 3, input: size }).yH, [1, 'batch', 3]);
    const checkpoint = readOnnx(g.bytes(), new Map());
    const { input } = checkpoint.network.layers[0]!;
    let understood = true;
    walkSignal(input, (s) => (understood &&= s.kind !== 'source' || s.operator === null));
    expect(understood).toBe(true);
    const layer = boxAround(random);
    const range = signalBox(
      input,
      () => layer,
      () => layer,
    );
    const data = Float64Array.from(Array.from({ length: 30 }, () => [...inBox(layer, random)]).flat());
    const inside = await runModel(
      writeModel(withOutputs(checkpoint.model, [front])),
      new Map([['x', { type: DataType.FLOAT, dims: [10, 3, features], data }]]),
    );
    const values = inside.get(front)!.data;
    values.forEach((v, i) => {
      expect(v).toBeGreaterThanOrEqual(range.lower[i % size]! - 1e-5);
      expect(v).toBeLessThanOrEqual(range.upper[i % size]! + 1e-5);
    });
  });
});

const unreachable = (): never => {
  throw new Error('reads a source');
};

function boxAround(random: Random): Box {
  const centre = random.vector(features);
  const radius = random.vector(features, 0, 0.7);
  return { lower: centre.map((c, i) => c - radius[i]!), upper: centre.map((c, i) => c + radius[i]!) };
}

describe('operators that mix positions', () => {
  it.each<[string, (g: TestGraph, x: string) => string]>([
    [
      'a padded convolution',
      (g, x) => g.node('Conv', [x, g.weight([4, features, 3]), g.weight([4])], { kernel_shape: [3], pads: [1, 1] }),
    ],
    [
      'a strided convolution in groups',
      (g, x) => g.node('Conv', [x, g.weight([4, 3, 2])], { kernel_shape: [2], strides: [2], group: 2 }),
    ],
    [
      'a dilated convolution behind tanh',
      (g, x) =>
        g.node('Conv', [g.node('Tanh', [x]), g.weight([4, features, 2])], { kernel_shape: [2], dilations: [3], pads: [3, 0] }),
    ],
    ['the maximum of neighbours', (g, x) => g.node('MaxPool', [x], { kernel_shape: [2] })],
  ])('%s in front of a layer has the range of its input at all taps', async (name, operator) => {
    const random = new Random(11);
    const g = new TestGraph(17, random);
    const x = g.input('x', ['batch', features, 'time']);
    const mixed = operator(g, x);
    const size = name.startsWith('the maximum') ? features : 4;
    g.output(g.recurrent('LSTM', g.transpose(mixed, 2, 0, 1), { hidden: 3, input: size }).yH, [1, 'batch', 3]);
    const checkpoint = readOnnx(g.bytes(), new Map());
    expect(freeSources(checkpoint.network).map((s) => s.name)).toEqual(['x']);
    const stated = boxAround(random);
    const source = (s: SourceSignal) => (s.range ? box(s.size, s.range.lower, s.range.upper) : stated);
    const range = signalBox(checkpoint.network.layers[0]!.input, source, unreachable);
    const [batch, steps] = [8, 12];
    const data = new Float64Array(batch * features * steps);
    for (let n = 0; n < batch; n++)
      for (let t = 0; t < steps; t++) inBox(stated, random).forEach((v, f) => (data[(n * features + f) * steps + t] = v));
    const inside = await runModel(
      writeModel(withOutputs(checkpoint.model, [mixed])),
      new Map([['x', { type: DataType.FLOAT, dims: [batch, features, steps], data }]]),
    );
    const { dims, data: values } = inside.get(mixed)!;
    let widest = 0;
    values.forEach((v, i) => {
      const channel = Math.floor(i / dims[2]!) % size;
      const [low, high] = [range.lower[channel]!, range.upper[channel]!];
      expect(v).toBeGreaterThanOrEqual(low - 1e-5);
      expect(v).toBeLessThanOrEqual(high + 1e-5);
      widest = Math.max(widest, (v - low) / (high - low), (high - v) / (high - low));
    });
    expect(widest).toBeGreaterThan(0.6);
  });
});

describe('what only looks like an operator over features', () => {
  const outputOf = (build: (g: TestGraph, h: string) => string) => {
    const g = new TestGraph(17, new Random(5));
    const { y } = g.recurrent('GRU', g.input('x', ['time', 'batch', 2]), { hidden: features, input: 2 });
    g.output(build(g, g.squeeze(y, 1)), ['any', 'any', 'any']);
    return outputSignals(readOnnx(g.bytes(), new Map()))[0]!;
  };

  it.each<[string, (g: TestGraph, score: string) => string]>([
    ['Softmax', (g, score) => g.node('Softmax', [score], { axis: -1 })],
    ['ReduceMean', (g, score) => g.node('ReduceMean', [score], { axes: [2], keepdims: 1 })],
  ])('%s over time, of a single feature', (operator, build) => {
    // Attention: one score per position, with time last.
    const output = outputOf((g, h) => build(g, g.transpose(g.dense(h, features, 1), 1, 2, 0)));
    expect(output.blockedBy).toMatch(operator);
  });

  it('a cast to integers, which jumps', () => {
    const output = outputOf((g, h) => g.node('Cast', [g.node('Cast', [h], { to: DataType.INT32 })], { to: DataType.FLOAT }));
    expect(output.blockedBy).toMatch('Cast');
  });
});
