import * as tf from '@tensorflow/tfjs-core';
import { layers, sequential } from '@tensorflow/tfjs-layers';
import { beforeAll, describe, expect, it } from 'vitest';
import { DataType } from '../../src/checkpoint/onnx/tensor.js';
import { portableTfjs } from '../../src/cli/portableTfjs.js';
import { tfjsReference } from '../../src/cli/tfjsReference.js';
import { convertCheckpoint } from '../../src/jobs/convert.js';
import { Random } from '../support/random.js';
import { runtime } from '../support/runtime.js';
import {
  checkpointFiles,
  compareWithTfjs,
  filesOf,
  randomizeWeights,
  relativeError,
  runConverted,
  saveModel,
  type ModelJson,
  type TfjsFiles,
} from '../support/tfjsFiles.js';

/**
 * Files as Keras 2 and 3 and their converter write them, most of which TF.js cannot load. What is expected comes from the
 * equations in Keras' documentation, written here once more without any of the product's code.
 */

const agreed = 1e-5;
const silent = () => Promise.resolve();
type Vector = number[];
type Step = (x: Vector, state: Vector) => Vector;

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const hardSigmoid2 = (x: number) => Math.min(1, Math.max(0, 0.2 * x + 0.5));
const hardSigmoid3 = (x: number) => Math.min(6, Math.max(0, x + 3)) / 6;

interface Weights {
  kernel: number[][];
  recurrent: number[][];
  bias: number[][];
}

function randomWeights(random: Random, input: number, units: number, gates: number, biases: number): Weights {
  const matrix = (rows: number, cols: number) => Array.from({ length: rows }, () => Array.from(random.floats(cols, -0.7, 0.7)));
  return { kernel: matrix(input, gates * units), recurrent: matrix(units, gates * units), bias: matrix(biases, gates * units) };
}

/** xᵀ M, columns from to to. */
const dot = (x: Vector, m: number[][], from: number, to: number) =>
  Array.from({ length: to - from }, (_, j) => x.reduce((sum, v, i) => sum + v * m[i]![from + j]!, 0));
const plus = (...vs: Vector[]) => vs[0]!.map((_, j) => vs.reduce((sum, v) => sum + v[j]!, 0));

function lstmStep({ kernel, recurrent, bias }: Weights, units: number, gate: (x: number) => number): Step {
  return (x, state) => {
    const [h, c] = [state.slice(0, units), state.slice(units)];
    const z = (g: number) =>
      plus(
        dot(x, kernel, g * units, (g + 1) * units),
        dot(h, recurrent, g * units, (g + 1) * units),
        bias[0]!.slice(g * units, (g + 1) * units),
      );
    const [i, f, g, o] = [z(0).map(gate), z(1).map(gate), z(2).map(Math.tanh), z(3).map(gate)] as [
      Vector,
      Vector,
      Vector,
      Vector,
    ];
    const cell = c.map((v, j) => f[j]! * v + i[j]! * g[j]!);
    return [...cell.map((v, j) => o[j]! * Math.tanh(v)), ...cell];
  };
}

/** reset_after: the reset gate scales the recurrent product, biases included, not the state. */
function gruStep({ kernel, recurrent, bias }: Weights, units: number, gate: (x: number) => number, resetAfter: boolean): Step {
  return (x, h) => {
    const part = (m: number[][], v: Vector, g: number) => dot(v, m, g * units, (g + 1) * units);
    const b = (row: number, g: number) => bias[row]?.slice(g * units, (g + 1) * units) ?? new Array<number>(units).fill(0);
    const inner = (g: number) => plus(part(kernel, x, g), b(0, g));
    const outer = (g: number) => plus(part(recurrent, h, g), resetAfter ? b(1, g) : new Array<number>(units).fill(0));
    const [z, r] = [plus(inner(0), outer(0)).map(gate), plus(inner(1), outer(1)).map(gate)] as [Vector, Vector];
    const hidden = resetAfter
      ? plus(
          inner(2),
          outer(2).map((v, j) => r[j]! * v),
        )
      : plus(
          inner(2),
          part(
            recurrent,
            h.map((v, j) => r[j]! * v),
            2,
          ),
        );
    return h.map((v, j) => z[j]! * v + (1 - z[j]!) * Math.tanh(hidden[j]!));
  };
}

function simpleStep({ kernel, recurrent, bias }: Weights, units: number): Step {
  return (x, h) => plus(dot(x, kernel, 0, units), dot(h, recurrent, 0, units), bias[0]!).map(Math.tanh);
}

/** States after every step. */
function unroll(step: Step, inputs: Vector[], size: number): Vector[] {
  let state = new Array<number>(size).fill(0);
  return inputs.map((x) => (state = step(x, state)));
}

/** Weights by name, as one group in one file. */
function manifest(weights: Readonly<Record<string, number[] | number[][]>>): {
  manifest: ModelJson['weightsManifest'];
  data: Uint8Array;
} {
  const entries = Object.entries(weights).map(([name, value]) => ({
    name,
    shape: Array.isArray(value[0]) ? [value.length, value[0].length] : [value.length],
    dtype: 'float32',
  }));
  const data = new Uint8Array(Float32Array.from(Object.values(weights).flatMap((v) => v.flat())).buffer);
  return { manifest: [{ paths: ['group1-shard1of1.bin'], weights: entries }], data };
}

function files(
  topology: object,
  weights: Readonly<Record<string, number[] | number[][]>>,
  rest: object = { format: 'layers-model', generatedBy: 'keras v3.4.1', convertedBy: 'TensorFlow.js Converter v4.22.0' },
): TfjsFiles {
  const { manifest: weightsManifest, data } = manifest(weights);
  return filesOf({ ...rest, modelTopology: topology, weightsManifest }, { 'group1-shard1of1.bin': data });
}

const sequences = (random: Random, batch: number, steps: number, features: number) =>
  Array.from({ length: batch }, () => Array.from({ length: steps }, () => Array.from(random.floats(features))));

/** Runs the files over sequences and gives the largest relative difference of every output. */
async function difference(checkpoint: TfjsFiles, name: string, x: Vector[][], expected: Vector[]): Promise<number> {
  const data = Float64Array.from(x.flat(2));
  const feeds = new Map([[name, { type: DataType.FLOAT, dims: [x.length, x[0]!.length, x[0]![0]!.length], data }]]);
  const [actual] = [...(await runConverted(checkpoint, feeds)).values()];
  return relativeError(actual!, { ...actual!, data: Float64Array.from(expected.flat()) });
}

async function oracleOf(checkpoint: TfjsFiles) {
  const { verification } = await convertCheckpoint(
    checkpointFiles(checkpoint),
    {},
    runtime,
    tfjsReference(portableTfjs()),
    silent,
  );
  expect(verification.difference).toBeLessThan(agreed);
  return verification;
}

beforeAll(async () => {
  portableTfjs();
  await tf.setBackend('cpu');
});

describe('GRU with reset_after, which TF.js refuses', () => {
  const gru = (options: object) => ({
    class_name: 'Sequential',
    config: {
      name: 'sequential',
      layers: [
        {
          class_name: 'InputLayer',
          config: { batch_input_shape: [null, null, 3], dtype: 'float32', sparse: false, ragged: false, name: 'gru_input' },
        },
        {
          class_name: 'GRU',
          config: {
            name: 'gru',
            units: 4,
            activation: 'tanh',
            recurrent_activation: 'sigmoid',
            use_bias: true,
            return_sequences: false,
            ...options,
          },
        },
      ],
    },
  });
  const model = (options: object) => ({ keras_version: '2.11.0', backend: 'tensorflow', model_config: gru(options) });

  it.each([
    ['stated', { reset_after: true }, 2, 'equations'],
    ['not stated, but two biases say it', {}, 2, 'equations'],
    ['false', { reset_after: false }, 1, 'tfjs'],
    ['without any bias', { reset_after: true, use_bias: false }, 0, 'equations'],
  ] as const)('%s', async (_, options, biases, expectedOracle) => {
    const random = new Random(40 + biases);
    const w = randomWeights(random, 3, 4, 3, biases);
    const named: Record<string, number[] | number[][]> = {
      'gru/gru_cell/kernel': w.kernel,
      'gru/gru_cell/recurrent_kernel': w.recurrent,
      ...(biases === 0 ? {} : { 'gru/gru_cell/bias': biases === 2 ? w.bias : w.bias[0]! }),
    };
    const checkpoint = files(model(options), named);
    const x = sequences(random, 3, 6, 3);
    const resetAfter = biases !== 1;
    const expected = x.map((s) => unroll(gruStep(w, 4, sigmoid, resetAfter), s, 4).at(-1)!);
    expect(await difference(checkpoint, 'gru_input', x, expected)).toBeLessThan(agreed);
    const { oracle, summary } = await oracleOf(checkpoint);
    expect(oracle).toBe(expectedOracle);
    if ('reset_after' in options && options.reset_after) expect(summary).toMatch(/TF\.js cannot run the file \(.*reset_after/);
  });

  it('says where a bias contradicts reset_after', async () => {
    const w = randomWeights(new Random(44), 3, 4, 3, 2);
    const named = { 'gru/kernel': w.kernel, 'gru/recurrent_kernel': w.recurrent, 'gru/bias': w.bias };
    await expect(oracleOf(files(model({ reset_after: false }), named))).rejects.toMatchObject({
      code: 'bad-shape',
      message: expect.stringContaining(
        'layer gru (GRU): its bias has shape [2, 12], which contradicts reset_after = false',
      ) as string,
    });
  });
});

describe('Keras 3', () => {
  const policy = { module: 'keras', class_name: 'DTypePolicy', config: { name: 'float32' }, registered_name: null };
  const layer = (className: string, config: object, rest: object = {}) => ({
    module: 'keras.layers',
    class_name: className,
    config: { trainable: true, dtype: policy, ...config },
    registered_name: null,
    build_config: { input_shape: [null, null, 3] },
    ...rest,
  });
  const tensor = (from: string, shape: unknown[], output = 0) => ({
    class_name: '__keras_tensor__',
    config: { shape, dtype: 'float32', keras_history: [from, 0, output] },
  });
  const node = (args: unknown[], kwargs: object = {}) => [{ args, kwargs }];
  const inputLayer = (name: string, shape: unknown[]) =>
    layer('InputLayer', { batch_shape: shape, dtype: 'float32', sparse: false, name }, { name, inbound_nodes: [] });
  const keras = (config: object) => ({ keras_version: '3.4.1', backend: 'tensorflow', model_config: config });
  const bidirectional = {
    name: 'bidirectional',
    merge_mode: 'sum',
    layer: layer('LSTM', {
      name: 'forward_lstm',
      units: 4,
      activation: 'tanh',
      recurrent_activation: 'hard_sigmoid',
      return_sequences: true,
      go_backwards: false,
    }),
    backward_layer: layer('GRU', {
      name: 'backward_gru',
      units: 4,
      activation: 'tanh',
      recurrent_activation: 'sigmoid',
      return_sequences: true,
      go_backwards: true,
      reset_after: true,
    }),
  };
  const functional = {
    module: 'keras.src.models.functional',
    class_name: 'Functional',
    config: {
      name: 'functional',
      layers: [
        inputLayer('x', [null, null, 3]),
        layer('Bidirectional', bidirectional, { name: 'bidirectional', inbound_nodes: node([tensor('x', [null, null, 3])]) }),
        layer(
          'SimpleRNN',
          {
            name: 'simple_rnn',
            units: 2,
            activation: { module: 'keras.activations', class_name: 'function', config: 'tanh' },
            return_sequences: false,
          },
          { name: 'simple_rnn', inbound_nodes: node([tensor('bidirectional', [null, null, 4])]) },
        ),
      ],
      // A single tensor is not in a list of its own.
      input_layers: ['x', 0, 0],
      output_layers: ['simple_rnn', 0, 0],
    },
    registered_name: 'Functional',
  };
  const random = new Random(50);
  const weights = [
    randomWeights(random, 3, 4, 4, 1),
    randomWeights(random, 3, 4, 3, 2),
    randomWeights(random, 4, 2, 1, 1),
  ] as const;
  const x = sequences(random, 2, 5, 3);
  const expected = x.map((s) => {
    const forward = unroll(lstmStep(weights[0], 4, hardSigmoid3), s, 8).map((state) => state.slice(0, 4));
    const backward = unroll(gruStep(weights[1], 4, sigmoid, true), s.toReversed(), 4).toReversed();
    const merged = forward.map((h, t) => plus(h, backward[t]!));
    return unroll(simpleStep(weights[2], 2), merged, 2).at(-1)!;
  });
  const nameStyles: Record<string, (layer: number, role: number) => string> = {
    'with the model in front': (l, r) =>
      `functional/${['bidirectional/forward_lstm/lstm_cell', 'bidirectional/backward_gru/gru_cell', 'simple_rnn/simple_rnn_cell'][l]}/${['kernel', 'recurrent_kernel', 'bias'][r]}`,
    without: (l, r) =>
      `${['bidirectional/forward_lstm/lstm_cell', 'bidirectional/backward_gru/gru_cell', 'simple_rnn/simple_rnn_cell'][l]}/${['kernel', 'recurrent_kernel', 'bias'][r]}:0`,
    'by numbers': (l, r) =>
      `_layers/${['bidirectional/forward_layer/cell', 'bidirectional/backward_layer/cell', 'simple_rnn/cell'][l]}/vars/${r}`,
  };
  const named = (style: (layer: number, role: number) => string) =>
    Object.fromEntries(
      weights.flatMap((w, l) => [
        [style(l, 0), w.kernel],
        [style(l, 1), w.recurrent],
        [style(l, 2), w.bias.length === 1 ? w.bias[0]! : w.bias],
      ]),
    );

  it.each(Object.entries(nameStyles))(
    'a Functional model with a backward layer of another kind; weights named %s',
    async (_, style) => {
      const checkpoint = files(keras(functional), named(style));
      expect(await difference(checkpoint, 'x', x, expected)).toBeLessThan(agreed);
      expect((await oracleOf(checkpoint)).oracle).toBe('equations');
    },
  );

  it('a Sequential model with its InputLayer, and hard_sigmoid as Keras 3 defines it', async () => {
    const model = {
      module: 'keras',
      class_name: 'Sequential',
      config: {
        name: 'sequential',
        layers: [
          layer('InputLayer', { batch_shape: [null, 6, 3], name: 'input_layer' }),
          layer('LSTM', { name: 'lstm', units: 4, recurrent_activation: 'hard_sigmoid' }),
        ],
      },
    };
    const [w] = weights;
    const checkpoint = files(keras(model), {
      'sequential/lstm/lstm_cell/kernel': w.kernel,
      'sequential/lstm/lstm_cell/recurrent_kernel': w.recurrent,
      'sequential/lstm/lstm_cell/bias': w.bias[0]!,
    });
    const long = sequences(new Random(51), 2, 6, 3);
    const last = (gate: (v: number) => number) =>
      long.map((s) =>
        unroll(lstmStep(w, 4, gate), s, 8)
          .at(-1)!
          .slice(0, 4),
      );
    expect(await difference(checkpoint, 'input_layer', long, last(hardSigmoid3))).toBeLessThan(agreed);
    expect(await difference(checkpoint, 'input_layer', long, last(hardSigmoid2))).toBeGreaterThan(1e-3);
  });

  it('states passed by keyword', async () => {
    const model = {
      class_name: 'Functional',
      config: {
        name: 'functional_1',
        layers: [
          inputLayer('x', [null, null, 3]),
          layer(
            'LSTM',
            { name: 'encoder', units: 4, recurrent_activation: 'sigmoid', return_state: true, return_sequences: false },
            { name: 'encoder', inbound_nodes: node([tensor('x', [null, null, 3])]) },
          ),
          layer(
            'LSTM',
            { name: 'decoder', units: 4, recurrent_activation: 'sigmoid' },
            {
              name: 'decoder',
              inbound_nodes: node([tensor('x', [null, null, 3])], {
                initial_state: [tensor('encoder', [null, 4], 1), tensor('encoder', [null, 4], 2)],
                mask: null,
                training: false,
              }),
            },
          ),
        ],
        input_layers: [['x', 0, 0]],
        output_layers: [['decoder', 0, 0]],
      },
    };
    const [a, b] = [randomWeights(new Random(52), 3, 4, 4, 1), randomWeights(new Random(53), 3, 4, 4, 1)];
    const parts = (name: string, w: Weights) => ({
      [`${name}/lstm_cell/kernel`]: w.kernel,
      [`${name}/lstm_cell/recurrent_kernel`]: w.recurrent,
      [`${name}/lstm_cell/bias`]: w.bias[0]!,
    });
    const checkpoint = files(keras(model), { ...parts('encoder', a), ...parts('decoder', b) });
    const after = x.map((s) => {
      let state = unroll(lstmStep(a, 4, sigmoid), s, 8).at(-1)!;
      for (const v of s) state = lstmStep(b, 4, sigmoid)(v, state);
      return state.slice(0, 4);
    });
    expect(await difference(checkpoint, 'x', x, after)).toBeLessThan(agreed);
  });
});

describe('masks as Keras 3 writes them', () => {
  const tokens = [
    [0, 2, 1, 0],
    [1, 2, 0, 0],
  ];
  const policy = { class_name: 'DTypePolicy', config: { name: 'float32' } };
  const tensor = (from: string) => ({
    class_name: '__keras_tensor__',
    config: { shape: [null, 4], dtype: 'float32', keras_history: [from, 0, 0] },
  });
  const layer = (class_name: string, name: string, config: object, args: unknown[], kwargs: object = {}) => ({
    class_name,
    name,
    config: { name, dtype: policy, ...config },
    inbound_nodes: args.length > 0 ? [{ args, kwargs }] : [],
  });
  const model = (maskClass: string) => ({
    keras_version: '3.4.1',
    model_config: {
      class_name: 'Functional',
      config: {
        name: 'f',
        layers: [
          layer('InputLayer', 'x', { batch_shape: [null, 4], dtype: 'int32' }, []),
          layer('Embedding', 'e', { input_dim: 3, output_dim: 2, mask_zero: true }, [tensor('x')]),
          layer(maskClass, 'mask', {}, [tensor('x'), 0]),
          layer('SimpleRNN', 'r', { units: 3 }, [tensor('e')], { mask: tensor('mask'), training: false }),
        ],
        input_layers: [['x', 0, 0]],
        output_layers: [['r', 0, 0]],
      },
    },
  });
  const random = new Random(80);
  const w = randomWeights(random, 2, 3, 1, 1);
  const table = Array.from({ length: 3 }, () => Array.from(random.floats(2)));
  const named = {
    'e/embeddings': table,
    'r/simple_rnn_cell/kernel': w.kernel,
    'r/simple_rnn_cell/recurrent_kernel': w.recurrent,
    'r/simple_rnn_cell/bias': w.bias[0]!,
  };

  it('skip the steps', async () => {
    const feeds = new Map([['x', { type: DataType.INT32, dims: [2, 4], data: Float64Array.from(tokens.flat()) }]]);
    const [actual] = [...(await runConverted(files(model('NotEqual'), named), feeds)).values()];
    const after = tokens.map((row) =>
      unroll(
        simpleStep(w, 3),
        row.filter((t) => t !== 0).map((t) => table[t]!),
        3,
      ).at(-1)!,
    );
    expect(relativeError(actual!, { ...actual!, data: Float64Array.from(after.flat()) })).toBeLessThan(agreed);
  });

  it('of another origin are refused', async () => {
    await expect(oracleOf(files(model('Dense'), named))).rejects.toMatchObject({
      code: 'unknown-layer',
      message: expect.stringContaining('layer r (SimpleRNN): a mask that a Dense layer computes') as string,
    });
  });
});

describe('names and shells of older files', () => {
  async function saved() {
    const m = sequential({
      name: 'sequential_1',
      layers: [
        layers.lstm({ units: 3, returnSequences: true, inputShape: [4, 2], name: 'lstm_1', recurrentInitializer: 'zeros' }),
        layers.gru({ units: 3, name: 'gru_1', recurrentInitializer: 'zeros' }),
        layers.dense({ units: 2, name: 'dense_1' }),
      ],
    });
    randomizeWeights(m, new Random(60));
    const { json, data } = await saveModel(m);
    const x = tf.tensor(Float32Array.from(new Random(61).floats(16)), [2, 4, 2]);
    return { m, json, data, x };
  }
  const topology = (json: ModelJson) => json.modelTopology as { class_name: string; config: { name: string; layers: unknown[] } };
  const renamed = (json: ModelJson, rename: (name: string) => string): ModelJson => ({
    ...json,
    weightsManifest: json.weightsManifest.map((g) => ({ ...g, weights: g.weights.map((w) => ({ ...w, name: rename(w.name) })) })),
  });
  const shells: Record<string, (json: ModelJson) => object> = {
    'no format, config a list, in model_config': (json) => ({
      modelTopology: {
        keras_version: '2.1.5',
        backend: 'tensorflow',
        model_config: { class_name: 'Sequential', config: topology(json).config.layers },
      },
      weightsManifest: json.weightsManifest,
    }),
    'model_config with a name': (json) => ({
      ...json,
      modelTopology: { keras_version: '2.4.0', backend: 'tensorflow', model_config: json.modelTopology },
    }),
    'keys in camelCase, as toJSON writes them': (json) =>
      JSON.parse(
        JSON.stringify(json).replaceAll(
          /"([a-z]+(?:_[a-z]+)+)":/g,
          (_, key: string) => `"${key.replace(/_([a-z])/g, (_m, c: string) => c.toUpperCase())}":`,
        ),
      ) as object,
    'the model in front of every name': (json) => renamed(json, (name) => `sequential_1/${name}`),
    'the cell in every name, and a version': (json) =>
      renamed(json, (name) => name.replace(/^(lstm|gru)_1\//, '$1_1/$1_cell/').concat(':0')),
    'a doubled layer': (json) => renamed(json, (name) => name.replace(/^([a-z]+_1)\//, '$1/$1/')),
    'without the layers': (json) => renamed(json, (name) => name.replace(/^[a-z]+_1\//, 'x/')),
  };
  it.each(Object.entries(shells))('%s', async (_, shell) => {
    const { m, json, data, x } = await saved();
    expect(await compareWithTfjs(m, filesOf(shell(json), { 'weights.bin': data }), [x])).toBeLessThan(agreed);
  });

  it('an optimizer among the weights, a byte order mark, and spaces', async () => {
    const { m, json, data, x } = await saved();
    const [group] = json.weightsManifest;
    const more = [{ name: 'adam/m', shape: [2, 2], dtype: 'float32', group: 'optimizer' }, ...group!.weights];
    const padded = new Uint8Array([...new Uint8Array(16), ...data]);
    const text = JSON.stringify({ ...json, weightsManifest: [{ paths: ['w'], weights: more }] }, null, 2);
    const all = new Map([
      ['model.json', new TextEncoder().encode(`\ufeff${text}\n`)],
      ['w', padded],
    ]);
    expect(await compareWithTfjs(m, all, [x])).toBeLessThan(agreed);
  });
});
