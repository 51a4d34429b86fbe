import { Matrix as DenseMatrix, SVD } from 'ml-matrix';
import { describe, expect, it } from 'vitest';
import { outputSignals } from '../../src/checkpoint/onnx/outputSignals.js';
import { readOnnx } from '../../src/checkpoint/onnx/reader.js';
import { DataType, type Tensor } from '../../src/checkpoint/onnx/tensor.js';
import { alongData } from '../../src/measurement/alongData.js';
import { batchedRunner } from '../../src/measurement/batchedRunner.js';
import { cellRunner, startState } from '../../src/measurement/cellRunner.js';
import { measureCurve, type Measurement } from '../../src/measurement/measuredCurve.js';
import { outputHead, runtimeHead, type OutputHead } from '../../src/measurement/outputHead.js';
import { sourceSequences, type SourceSequence } from '../../src/measurement/sequences.js';
import { quantileOf } from '../../src/measurement/statisticalLength.js';
import { longestOf, type Window, type WindowRuns } from '../../src/measurement/windowRuns.js';
import { activation } from '../../src/network/activation.js';
import { step } from '../../src/network/forward.js';
import { linearize } from '../../src/network/linearization.js';
import { matrix } from '../../src/network/matrix.js';
import { outputLayers, type RecurrentNetwork } from '../../src/network/network.js';
import { readModelInputs, syntheticBatch } from '../../src/samples/modelInputs.js';
import { randomNetwork, type Directions } from '../support/networks.js';
import { Random } from '../support/random.js';
import { runModel, runtime } from '../support/runtime.js';
import { TestGraph } from '../support/testGraph.js';

/** The measured curve against its definition, and its two ways of running windows against each other. */

const all = { maxLength: 12, windows: 10_000, epsilon: 1e-2, head: null };

function sequencesOf(network: RecurrentNetwork, steps: readonly number[], random: Random): SourceSequence[] {
  const size = network.layers[0]!.inputSize;
  return steps.map((n) => new Map([['x', Array.from({ length: n }, () => random.vector(size))]]));
}

/** What is meaningful of runs: the rows inside their windows. */
function inside(network: RecurrentNetwork, windows: readonly Window[], runs: WindowRuns): number[] {
  return network.layers.flatMap((layer, index) => {
    const width = layer.hiddenSize * layer.directions.length;
    return windows.flatMap(({ from, to }, w) => [
      ...runs.hidden[index]!.subarray(w * runs.steps * width, (w * runs.steps + to - from) * width),
    ]);
  });
}

describe.each<[Directions, number]>([
  ['forward', 1],
  ['reverse', 1],
  ['bidirectional', 1],
  ['forward', 3],
  ['mixed', 3],
])('%s, layers: %i', (directions, layers) => {
  it('cell equations and batches in ONNX Runtime agree on windows of any length', async () => {
    for (let seed = 0; seed < 6; seed++) {
      const random = new Random(700 + seed);
      const network = randomNetwork(layers, directions, random);
      const sequences = sequencesOf(network, [40, 25], random);
      const windows = Array.from({ length: 9 }, (): Window => {
        const source = random.pick(sequences);
        const from = random.int(0, 20);
        return { source, from, to: random.int(from + 1, source.get('x')!.length) };
      });
      const cells = inside(network, windows, await cellRunner(network).run(windows));
      for (const [type, tolerance] of [
        [DataType.DOUBLE, 1e-10],
        [DataType.FLOAT, 1e-4],
      ] as const) {
        const runner = await batchedRunner(network, type, runtime).catch(() => null);
        // ONNX Runtime has not every activation in float64; the check falls back to the cell equations then.
        if (!runner) {
          expect(type).toBe(DataType.DOUBLE);
          continue;
        }
        const runs = await runner.run(windows);
        expect(runs.steps).toBe(longestOf(windows));
        const batched = inside(network, windows, runs);
        await runner.release();
        const error = cells.reduce((worst, v, i) => Math.max(worst, Math.abs(v - batched[i]!) / (1 + Math.abs(v))), 0);
        expect(error, `seed ${seed}`).toBeLessThan(tolerance);
      }
    }
  });

  it('the curve is the worst of its windows, each where it says, and knows which units moved', async () => {
    for (let seed = 0; seed < 4; seed++) {
      const random = new Random(800 + seed);
      const network = randomNetwork(layers, directions, random);
      const sequences = sequencesOf(network, [30, 18, 30], random);
      const runner = cellRunner(network);
      const { recurrent, lastMoved } = await measureCurve(network, sequences, runner, all);
      const outputs = outputLayers(network);
      /** Differences of all units at a position after truncation to k steps, from the definition: a window of its own. */
      const differences = async (k: number, sequence: number, t: number) => {
        const source = sequences[sequence]!;
        const steps = source.get('x')!.length;
        const full = await runner.run([{ source, from: 0, to: steps }]);
        const [from, to] = [Math.max(0, t - k + 1), Math.min(steps, t + k)];
        const part = await runner.run([{ source, from, to }]);
        return network.layers.map((layer, index) => {
          const width = layer.hiddenSize * layer.directions.length;
          const a = full.hidden[index]!.subarray(t * width, (t + 1) * width);
          return a.map((v, i) => Math.abs(v - part.hidden[index]![(t - from) * width + i]!));
        });
      };
      // A layer of two directions has each of them measured where that one has k steps.
      const single = network.layers.every((layer) => layer.directions.length === 1) || network.layers.length > 1;
      for (const [i, k] of recurrent.k.entries()) {
        if (k === 0 || !single) continue;
        const { sequence, position } = recurrent.worstAt[i]!;
        const units = await differences(k, sequence, position);
        const worst = Math.max(...outputs.flatMap((layer) => [...units[layer]!]));
        expect(worst).toBeCloseTo(recurrent.worst[i]!, 12);
        expect(Math.max(...recurrent.perSequence[i]!.filter((e) => !Number.isNaN(e)))).toBe(recurrent.worst[i]);
        expect(recurrent.perSequence[i]![sequence]).toBe(recurrent.worst[i]);
        units.forEach((moved, layer) =>
          moved.forEach((d, unit) => {
            if (d > all.epsilon) expect(lastMoved[layer]![unit]).toBeGreaterThanOrEqual(k);
          }),
        );
      }
      // Some unit of the output layers moved at the last length whose worst error is above ε, and none later.
      const last = recurrent.worst.reduce((found, error, i) => (error > all.epsilon ? recurrent.k[i]! : found), -1);
      expect(Math.max(...outputs.flatMap((layer) => [...lastMoved[layer]!]))).toBe(last);
    }
  });
});

describe('quantiles over sequences', () => {
  it('are errors that were seen, and leave out sequences without a window', () => {
    const errors = Float64Array.of(3, NaN, 1, 2, 4);
    expect([0.01, 0.25, 0.5, 0.75, 0.76, 1].map((q) => quantileOf(errors, q))).toEqual([1, 1, 2, 3, 4, 4]);
  });
});

describe('errors at the model’s own outputs', () => {
  /** GRU → dense → softmax over all positions, or at the last one only; with the input beside it where asked. */
  function model(position: 'each' | 'last', skip: boolean, seed: number) {
    const g = new TestGraph(17, new Random(seed));
    const x = g.input('x', ['time', 'batch', 2]);
    const { y, yH } = g.recurrent('GRU', x, { hidden: 5, input: 2 }, (dims) => g.weight(dims, 1.5));
    const h = position === 'each' ? g.squeeze(y, 1) : g.squeeze(yH, 0);
    const joined = skip ? g.node('Concat', [h, x], { axis: 2 }) : h;
    const out = g.node('Softmax', [g.dense(joined, skip ? 7 : 5, 4)], { axis: -1 });
    g.output(out, position === 'each' ? ['time', 'batch', 4] : ['batch', 4]);
    return { bytes: g.bytes(), output: out };
  }

  it.each<['each' | 'last', boolean]>([
    ['each', false],
    ['each', true],
    ['last', false],
  ])('at %s position(s), input beside the layer: %s', async (position, skip) => {
    const { bytes, output } = model(position, skip, 3);
    const checkpoint = readOnnx(bytes, new Map());
    const axes = readModelInputs(checkpoint);
    const steps = 20;
    const batch = syntheticBatch(axes, { lower: -1, upper: 1 }, 3, steps, 5);
    const signals = outputSignals(checkpoint);
    const sequences = (await sourceSequences(
      checkpoint,
      axes,
      batch,
      runtime,
      signals.map((s) => s.signal),
    ))!;
    const heads: OutputHead[] = [await outputHead(checkpoint, signals, sequences, runtime)];
    if (!skip) heads.push(await runtimeHead(checkpoint, [output], runtime));
    else await expect(runtimeHead(checkpoint, [output], runtime)).rejects.toThrow('also reads the input x');
    /** The model itself on steps [from, to) of every sequence: the output rows of its last step. */
    const atEnd = async (from: number, to: number) => {
      const { dims, data } = batch.feeds.get('x')!;
      const width = dims[1]! * dims[2]!;
      const part: Tensor = {
        type: DataType.FLOAT,
        dims: [to - from, ...dims.slice(1)],
        data: data.slice(from * width, to * width),
      };
      const answer = (await runModel(bytes, new Map([['x', part]]))).get(output)!.data;
      return answer.subarray(answer.length - 3 * 4);
    };
    for (const head of heads) {
      const measured: Measurement = await measureCurve(checkpoint.network, sequences, cellRunner(checkpoint.network), {
        ...all,
        head,
      });
      const curve = measured.output!;
      for (const k of [1, 2, 5, 12]) {
        const { sequence, position: t } = curve.worstAt[k]!;
        const [full, part] = [await atEnd(0, t + 1), await atEnd(t - k + 1, t + 1)];
        const error = Math.max(
          ...Array.from({ length: 4 }, (_, i) => Math.abs(full[sequence * 4 + i]! - part[sequence * 4 + i]!)),
        );
        expect(error).toBeCloseTo(curve.worst[k]!, 5);
        expect(curve.worst[k]).toBeGreaterThan(1e-4);
      }
      await head.release();
    }
  });

  it('are refused where an output depends on the whole sequence', async () => {
    const g = new TestGraph(17, new Random(1));
    const x = g.input('x', ['time', 'batch', 2]);
    const { y } = g.recurrent('GRU', x, { hidden: 5, input: 2 });
    g.output(g.node('ReduceMean', [g.squeeze(y, 1)], { axes: [0], keepdims: 0 }), ['batch', 5]);
    const checkpoint = readOnnx(g.bytes(), new Map());
    await expect(outputHead(checkpoint, outputSignals(checkpoint), [], runtime)).rejects.toMatchObject({
      code: 'output-not-measured',
      message: expect.stringContaining('depends on every position of the sequence, through ReduceMean') as string,
    });
  });
});

describe('along the data', () => {
  /** One unit whose slope is 1 · weight above zero and alpha · weight below. */
  const leaky = (weight: number, alpha: number): RecurrentNetwork => ({
    layers: [
      {
        name: 'leaky',
        kind: 'rnn',
        inputSize: 1,
        hiddenSize: 1,
        directions: [
          {
            cell: {
              kind: 'rnn',
              inputSize: 1,
              hiddenSize: 1,
              clip: Infinity,
              gate: {
                input: matrix(1, 1, Float64Array.of(1)),
                recurrent: matrix(1, 1, Float64Array.of(weight)),
                bias: new Float64Array(1),
                activation: activation('LeakyRelu', alpha),
              },
            },
            reverse: false,
            initialState: new Float64Array(1),
          },
        ],
        input: { kind: 'source', size: 1, name: 'x', operator: null, range: null, recurrent: false },
      },
    ],
  });
  const noise = (count: number, steps: number, random: Random): SourceSequence[] =>
    Array.from({ length: count }, () => new Map([['x', Array.from({ length: steps }, () => random.vector(1))]]));

  it('finds the exponent of a linear unit exactly, with no error', async () => {
    const [layer] = (await alongData(leaky(0.8, 1), noise(20, 60, new Random(1))))!;
    expect(layer!.exponent).toBeCloseTo(Math.log(0.8), 8);
    expect(layer!.standardError).toBeLessThan(1e-8);
  });

  it('finds the exponent of a unit with two slopes within its standard error, which shrinks with the data', async () => {
    // Counted instead of followed: log slope of every step.
    const random = new Random(2);
    const network = leaky(0.9, 0.3);
    let [h, sum, count] = [0, 0, 0];
    for (let t = 0; t < 400_000; t++) {
      const pre = 0.9 * h + random.uniform(-1, 1);
      h = pre > 0 ? pre : 0.3 * pre;
      sum += Math.log(0.9 * (pre > 0 ? 1 : 0.3));
      count++;
    }
    const errors: number[] = [];
    for (const sequences of [10, 160]) {
      const [layer] = (await alongData(network, noise(sequences, 120, random)))!;
      expect(Math.abs(layer!.exponent - sum / count)).toBeLessThan(3.5 * layer!.standardError);
      errors.push(layer!.standardError);
    }
    expect(errors[1]! / errors[0]!).toBeLessThan(0.5);
  });

  it('takes norms of one-step Jacobians that a singular value decomposition agrees with', async () => {
    for (let seed = 0; seed < 5; seed++) {
      const random = new Random(60 + seed);
      const network = randomNetwork(1, 'forward', random);
      const [source] = sequencesOf(network, [40], random) as [SourceSequence];
      const { cell } = network.layers[0]!.directions[0]!;
      let state = startState(network.layers[0]!.directions[0]!);
      const norms: number[] = [];
      source.get('x')!.forEach((x, t) => {
        // Every eighth step after a third of the sequence.
        if (t >= 13 && (t - 13) % 8 === 0) {
          const { rows, data } = linearize(cell, x, state).jacobian();
          norms.push(new SVD(DenseMatrix.from1DArray(rows, rows, data)).norm2);
        }
        state = step(cell, x, state);
      });
      const [layer] = (await alongData(network, [source]))!;
      expect(layer!.jacobianNorms).toHaveLength(norms.length);
      norms.sort((a, b) => a - b).forEach((norm, i) => expect(layer!.jacobianNorms[i]! / norm).toBeCloseTo(1, 2));
      expect(Math.exp(layer!.exponent)).toBeLessThanOrEqual(norms.at(-1)! * 1.5);
    }
  });

  it('says −∞ where everything is forgotten at once, and nothing of sequences that are too short', async () => {
    const [layer] = (await alongData(leaky(0, 1), noise(3, 60, new Random(3))))!;
    expect(layer!.exponent).toBe(-Infinity);
    expect(await alongData(leaky(0.5, 1), noise(3, 11, new Random(3)))).toBeNull();
  });
});
