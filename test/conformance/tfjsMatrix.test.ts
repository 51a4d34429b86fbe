import * as tf from '@tensorflow/tfjs-core';
import {
  input,
  layers,
  model,
  sequential,
  type SymbolicTensor,
  type LayersModel,
  type layers as Layers,
} from '@tensorflow/tfjs-layers';
import { beforeAll, describe, expect, it } from 'vitest';
import { portableTfjs } from '../../src/cli/portableTfjs.js';
import { tfjsReference } from '../../src/cli/tfjsReference.js';
import { convertCheckpoint } from '../../src/jobs/convert.js';
import { Random } from '../support/random.js';
import { runtime } from '../support/runtime.js';
import {
  checkpointFiles,
  compareWithTfjs,
  convertedError,
  filesOf,
  quantized,
  randomizeWeights,
  relativeError,
  runConverted,
  saveModel,
  sharded,
  toTensor,
} from '../support/tfjsFiles.js';

/**
 * Models built with TF.js, saved as it saves them, converted, and run in ONNX Runtime: every option of every recurrent layer,
 * what stands around them, and every form that the weights come in.
 */

const agreed = 1e-5;
type RnnLayer = ReturnType<typeof layers.lstm> | ReturnType<typeof layers.gru> | ReturnType<typeof layers.simpleRNN>;
type Options = Record<string, unknown> & { units: number };

// Random weights replace them, and TF.js' default for recurrent ones is slow to compute.
const initializers = { kernelInitializer: 'zeros', recurrentInitializer: 'zeros' } as const;
const cells = ['simpleRNN', 'lstm', 'gru'] as const;
type CellName = (typeof cells)[number];
const make = (cell: CellName, options: Options): RnnLayer =>
  (layers[cell] as (o: object) => RnnLayer)({ ...initializers, ...options });
const makeCell = (cell: CellName, units: number) =>
  (layers[`${cell}Cell`] as (o: object) => ReturnType<typeof layers.lstmCell>)({
    ...initializers,
    units,
    recurrentActivation: 'sigmoid',
  });
const bool = [false, true] as const;

/** All combinations of the values of some options. */
function product<T extends Record<string, readonly unknown[]>>(options: T): { [K in keyof T]: T[K][number] }[] {
  return Object.entries(options).reduce<Record<string, unknown>[]>(
    (rows, [key, values]) => rows.flatMap((row) => values.map((value) => ({ ...row, [key]: value }))),
    [{}],
  ) as { [K in keyof T]: T[K][number] }[];
}

function sequence(seed: number, ...shape: number[]): tf.Tensor {
  return tf.tensor(Float32Array.from(new Random(seed).floats(shape.reduce((a, b) => a * b, 1))), shape);
}

let seed = 0;
const say = (row: object) =>
  Object.entries(row)
    .map(([key, value]) => `${key} ${String(value)}`)
    .join(', ');
const named = <T extends object>(rows: readonly T[]) => rows.map((row) => [say(row), row] as const);
const functional = (x: SymbolicTensor, outputs: unknown) => model({ inputs: x, outputs: [outputs].flat() as SymbolicTensor[] });

beforeAll(async () => {
  portableTfjs();
  await tf.setBackend('cpu');
});

describe('recurrent layers', () => {
  const rows = product({ cell: cells, returnSequences: bool, returnState: bool, goBackwards: bool, useBias: bool });
  it.each(named(rows))('%s', async (_, { cell, ...options }) => {
    const x = input({ shape: [null, 3] });
    expect(
      await convertedError(functional(x, make(cell, { units: 4, ...options }).apply(x)), [sequence(1, 2, 5, 3)], ++seed),
    ).toBeLessThan(agreed);
  });

  const activations = ['linear', 'relu', 'elu', 'sigmoid', 'hardSigmoid', 'softplus', 'softsign', 'tanh'] as const;
  const pairs = product({ cell: cells, activation: activations, recurrentActivation: activations }).filter(
    (row) => row.cell !== 'simpleRNN' || row.recurrentActivation === 'linear',
  );
  it.each(named(pairs))('activations: %s', async (_, { cell, activation, recurrentActivation }) => {
    const layer = make(cell, { units: 3, activation, recurrentActivation, inputShape: [null, 2] });
    expect(await convertedError(sequential({ layers: [layer] }), [sequence(2, 2, 4, 2)], ++seed)).toBeLessThan(agreed);
  });

  it.each(['selu', 'relu6', 'gelu', 'swish', 'softmax', 'mish'])(
    'refuses the activation %s, which ONNX nodes do not have, by name',
    async (activation) => {
      const m = sequential({ layers: [make('lstm', { units: 2, activation, inputShape: [null, 2], name: 'odd' })] });
      const { json, data } = await saveModel(m);
      await expect(
        convertCheckpoint(checkpointFiles(filesOf(json, { 'weights.bin': data })), {}, runtime, null, () => Promise.resolve()),
      ).rejects.toMatchObject({
        code: 'unknown-activation',
        message: expect.stringContaining('layer odd (LSTM)') as string,
      });
    },
  );

  it.each(cells)('%s stacked three high, with a time axis of fixed length', async (cell) => {
    const stack = [true, true, false].map((returnSequences, i) =>
      make(cell, { units: 3 + i, returnSequences, ...(i === 0 ? { inputShape: [6, 2] } : {}) }),
    );
    expect(
      await convertedError(sequential({ layers: [...stack, layers.dense({ units: 2 })] }), [sequence(3, 2, 6, 2)], ++seed),
    ).toBeLessThan(agreed);
  });

  it.each(named(product({ cell: cells, returnSequences: bool })))(
    'initial states from the model: %s',
    async (_, { cell, returnSequences }) => {
      const x = input({ shape: [null, 3] });
      const states = (cell === 'lstm' ? [0, 1] : [0]).map(() => input({ shape: [4] }));
      const y = make(cell, { units: 4, returnSequences }).apply(x, { initialState: states }) as SymbolicTensor;
      const m = model({ inputs: [x, ...states], outputs: y });
      expect(
        await convertedError(m, [sequence(4, 2, 5, 3), ...states.map((_s, i) => sequence(5 + i, 2, 4))], ++seed),
      ).toBeLessThan(agreed);
    },
  );

  it.each(cells)('an encoder gives its states to a decoder: %s', async (cell) => {
    const x = input({ shape: [null, 3] });
    const z = input({ shape: [null, 2] });
    const [, ...states] = make(cell, { units: 4, returnState: true }).apply(x) as SymbolicTensor[];
    const y = make(cell, { units: 4, returnSequences: true }).apply(z, { initialState: states }) as SymbolicTensor;
    const m = model({ inputs: [x, z], outputs: y });
    expect(await convertedError(m, [sequence(6, 2, 5, 3), sequence(7, 2, 3, 2)], ++seed)).toBeLessThan(agreed);
  });

  it.each(named(product({ cell: cells, wrapper: ['plain', 'bidirectional'] as const })))(
    'stateful: the states go on from call to call through inputs and outputs: %s',
    async (_, { cell, wrapper }) => {
      const layer = make(cell, { units: 3, stateful: true, returnSequences: true });
      const x = input({ batchShape: [2, 4, 3] });
      const y = (wrapper === 'plain' ? layer : layers.bidirectional({ layer, mergeMode: 'concat' })).apply(x);
      const m = functional(x, y);
      randomizeWeights(m, new Random(++seed));
      const { json, data } = await saveModel(m);
      const files = filesOf(json, { 'weights.bin': data });
      const carried = new Map<string, ReturnType<typeof toTensor>>();
      for (let call = 0; call < 3; call++) {
        const steps = sequence(10 + call, 2, 4, 3);
        const outputs = await runConverted(files, new Map([[x.name, toTensor(steps)], ...carried]));
        const expected = m.predict(steps) as tf.Tensor;
        for (const [name, tensor] of outputs) if (name.endsWith('_next')) carried.set(name.replace('_next', ''), tensor);
        expect(relativeError([...outputs].find(([name]) => !name.includes('/state_'))![1], toTensor(expected))).toBeLessThan(
          agreed,
        );
      }
      expect(carried.size).toBe((cell === 'lstm' ? 2 : 1) * (wrapper === 'plain' ? 1 : 2));
    },
  );

  const stacks = product({ lower: cells, upper: cells, returnSequences: bool, goBackwards: bool });
  it.each(named(stacks))('stacked cells: %s', async (_, { lower, upper, ...options }) => {
    const x = input({ shape: [null, 2] });
    const stack = layers.rnn({ cell: [makeCell(lower, 3), makeCell(upper, 4)] as never, returnState: true, ...options });
    expect(await convertedError(functional(x, stack.apply(x)), [sequence(8, 2, 5, 2)], ++seed)).toBeLessThan(agreed);
  });
});

describe('Bidirectional', () => {
  const rows = product({
    cell: cells,
    mergeMode: ['concat', 'sum', 'ave', 'mul', null] as const,
    returnSequences: bool,
    returnState: bool,
    goBackwards: bool,
  });
  it.each(named(rows))('%s', async (_, { cell, mergeMode, ...options }) => {
    const x = input({ shape: [null, 3] });
    const y = layers.bidirectional({ layer: make(cell, { units: 3, ...options }), mergeMode: mergeMode as 'concat' }).apply(x);
    expect(await convertedError(functional(x, y), [sequence(9, 2, 5, 3)], ++seed)).toBeLessThan(agreed);
  });

  it.each(cells)('initial states of both directions: %s', async (cell) => {
    const x = input({ shape: [null, 3] });
    const states = Array.from({ length: cell === 'lstm' ? 4 : 2 }, () => input({ shape: [2] }));
    const layer = make(cell, { units: 2, returnSequences: true });
    const y = layers.bidirectional({ layer, mergeMode: 'concat' }).apply(x, { initialState: states }) as SymbolicTensor;
    const m = model({ inputs: [x, ...states], outputs: y });
    expect(
      await convertedError(m, [sequence(10, 2, 4, 3), ...states.map((_s, i) => sequence(20 + i, 2, 2))], ++seed),
    ).toBeLessThan(agreed);
  });

  it.each(cells)('two stacked: %s', async (cell) => {
    const both = (i: number, options: object = {}) =>
      layers.bidirectional({ layer: make(cell, { units: 2 + i, returnSequences: true }), mergeMode: 'concat', ...options });
    const m = sequential({ layers: [both(0, { inputShape: [null, 3] }), both(1), layers.globalMaxPooling1d({})] });
    expect(await convertedError(m, [sequence(11, 2, 6, 3)], ++seed)).toBeLessThan(agreed);
  });
});

describe('masks', () => {
  // Nothing skipped; at the end; at the start; inside; everything.
  const tokens = [
    [1, 2, 3, 1, 2, 3],
    [2, 1, 3, 0, 0, 0],
    [0, 0, 3, 2, 1, 1],
    [1, 0, 2, 0, 0, 3],
    [0, 0, 0, 0, 0, 0],
  ];
  const rows = product({
    cell: cells,
    returnSequences: bool,
    goBackwards: bool,
    wrapper: ['plain', 'bidirectional', 'stacked'] as const,
  });
  it.each(named(rows))('Embedding with mask_zero: %s', async (_, { cell, wrapper, ...options }) => {
    const embedding = layers.embedding({ inputDim: 4, outputDim: 3, maskZero: true, inputLength: 6 });
    const layer = make(cell, { units: 3, ...options });
    const upper =
      wrapper === 'plain'
        ? [layer]
        : wrapper === 'bidirectional'
          ? [layers.bidirectional({ layer, mergeMode: 'concat' })]
          : [make(cell, { units: 2, returnSequences: true }), layer];
    expect(await convertedError(sequential({ layers: [embedding, ...upper] }), [tf.tensor2d(tokens)], ++seed)).toBeLessThan(
      agreed,
    );
  });

  it.each(named(product({ cell: cells, returnSequences: bool, maskValue: [0, -1] })))(
    'Masking: %s',
    async (_, { cell, returnSequences, maskValue }) => {
      const random = new Random(12);
      const masked = tf.tensor3d(
        tokens.map((row) => row.map((t) => [0, 1].map(() => (t === 0 ? maskValue : random.uniform(-1, 1))))),
      );
      const m = sequential({
        layers: [
          layers.masking({ maskValue, inputShape: [null, 2] }),
          layers.dense({ units: 3 }),
          make(cell, { units: 3, returnSequences }),
        ],
      });
      expect(await convertedError(m, [masked], ++seed)).toBeLessThan(agreed);
    },
  );

  it.each(cells)('with initial states, which TF.js cannot run: as without the skipped steps: %s', async (cell) => {
    const states = (cell === 'lstm' ? [0, 1] : [0]).map(() => input({ shape: [3] }));
    const build = (maskZero: boolean) => {
      const x = input({ shape: [null] });
      const embedded = layers.embedding({ inputDim: 4, outputDim: 2, maskZero, name: 'e' }).apply(x) as SymbolicTensor;
      const rnn = make(cell, { units: 3, returnSequences: true, name: 'r' });
      return model({ inputs: [x, ...states], outputs: rnn.apply(embedded, { initialState: states }) as SymbolicTensor });
    };
    const [masked, plain] = [build(true), build(false)];
    randomizeWeights(masked, new Random(++seed));
    plain.setWeights(masked.getWeights());
    const initial = states.map((_, i) => sequence(30 + i, 5, 3));
    const { json, data } = await saveModel(masked);
    const feeds = new Map(
      [masked.inputs[0]!, ...states].map((s, i) => [s.name, toTensor(i === 0 ? tf.tensor2d(tokens) : initial[i - 1]!)]),
    );
    const [actual] = [...(await runConverted(filesOf(json, { 'weights.bin': data }), feeds)).values()];
    const expected = tokens.flatMap((row, n) => {
      const own = initial.map((s) => tf.slice(s, [n, 0], [1, 3]));
      const counted = row.filter((t) => t !== 0);
      let at = Array.from(own[0]!.dataSync());
      const outputs =
        counted.length > 0 ? Array.from((plain.predict([tf.tensor2d([counted]), ...own]) as tf.Tensor).dataSync()) : [];
      return row.flatMap((t) => (at = t === 0 ? at : outputs.splice(0, 3)));
    });
    expect(relativeError(actual!, { ...actual!, data: Float64Array.from(expected) })).toBeLessThan(agreed);
  });
});

describe('layers around the recurrence', () => {
  const lstm = () => make('lstm', { units: 3, returnSequences: true });
  const last = () => make('gru', { units: 3 });
  type Layer = Layers.Layer;
  const chains: Record<string, { shape: (number | null)[]; at: number[]; layers: () => Layer[] }> = {
    'Dense, Dropout and noise': {
      shape: [null, 3],
      at: [2, 5, 3],
      layers: () => [
        layers.dense({ units: 4, activation: 'relu' }),
        layers.dropout({ rate: 0.5 }),
        layers.gaussianNoise({ stddev: 1 }),
        layers.alphaDropout({ rate: 0.2 }),
        layers.spatialDropout1d({ rate: 0.3 }),
        last(),
      ],
    },
    'Dense without bias': { shape: [null, 3], at: [2, 5, 3], layers: () => [layers.dense({ units: 4, useBias: false }), last()] },
    Flatten: { shape: [5, 3], at: [2, 5, 3], layers: () => [lstm(), layers.flatten({}), layers.dense({ units: 2 })] },
    'Reshape before': { shape: [12], at: [2, 12], layers: () => [layers.reshape({ targetShape: [4, 3] }), last()] },
    'Reshape with a free size': {
      shape: [4, 6],
      at: [2, 4, 6],
      layers: () => [layers.reshape({ targetShape: [-1, 3] }), last()],
    },
    RepeatVector: { shape: [null, 3], at: [2, 5, 3], layers: () => [last(), layers.repeatVector({ n: 4 }), lstm()] },
    Permute: { shape: [3, 5], at: [2, 3, 5], layers: () => [layers.permute({ dims: [2, 1] }), last()] },
    BatchNormalization: {
      shape: [null, 3],
      at: [2, 5, 3],
      layers: () => [layers.batchNormalization({}), lstm(), layers.batchNormalization({ epsilon: 0.01 }), last()],
    },
    'BatchNormalization without scale and center': {
      shape: [null, 3],
      at: [2, 5, 3],
      layers: () => [layers.batchNormalization({ scale: false, center: false }), last()],
    },
    LayerNormalization: {
      shape: [null, 3],
      at: [2, 5, 3],
      layers: () => [layers.layerNormalization({}), lstm(), layers.layerNormalization({ center: false }), last()],
    },
    'LayerNormalization over time': {
      shape: [5, 3],
      at: [2, 5, 3],
      layers: () => [layers.layerNormalization({ axis: 1 }), last()],
    },
    'LayerNormalization over both': {
      shape: [5, 3],
      at: [2, 5, 3],
      layers: () => [layers.layerNormalization({ axis: [1, 2] }), last()],
    },
    'advanced activations': {
      shape: [5, 3],
      at: [2, 5, 3],
      layers: () => [
        layers.reLU({ maxValue: 0.5 }),
        layers.leakyReLU({ alpha: 0.2 }),
        layers.elu({}),
        layers.prelu({}),
        layers.prelu({ sharedAxes: [1] }),
        layers.thresholdedReLU({ theta: 0.1 }),
        layers.softmax({ axis: -1 }),
        last(),
      ],
    },
    'global pooling': {
      shape: [null, 3],
      at: [2, 5, 3],
      layers: () => [lstm(), layers.globalAveragePooling1d({}), layers.dense({ units: 2 })],
    },
    'Conv2D in front': {
      shape: [6, 5, 2],
      at: [2, 6, 5, 2],
      layers: () => [
        layers.conv2d({ filters: 3, kernelSize: [3, 2], padding: 'same', activation: 'relu' }),
        layers.maxPooling2d({ poolSize: 2 }),
        layers.zeroPadding2d({ padding: 1 }),
        layers.reshape({ targetShape: [5, 12] }),
        last(),
      ],
    },
    'TimeDistributed Dense': {
      shape: [null, 3],
      at: [2, 5, 3],
      layers: () => [layers.timeDistributed({ layer: layers.dense({ units: 4, activation: 'tanh' }) }), last()],
    },
    'TimeDistributed LSTM': {
      shape: [4, 5, 3],
      at: [2, 4, 5, 3],
      layers: () => [layers.timeDistributed({ layer: make('lstm', { units: 3 }) }), last()],
    },
    'TimeDistributed Conv1D and Flatten': {
      shape: [null, 5, 3],
      at: [2, 4, 5, 3],
      layers: () => [
        layers.timeDistributed({ layer: layers.conv1d({ filters: 2, kernelSize: 2 }) }),
        layers.timeDistributed({ layer: layers.flatten({}) }),
        last(),
      ],
    },
    'a model in a model in a model': {
      shape: [null, 3],
      at: [2, 5, 3],
      layers: () => [
        sequential({
          name: 'outer',
          layers: [
            layers.dense({ units: 4, inputShape: [null, 3], name: 'same' }),
            sequential({ name: 'inner', layers: [make('gru', { units: 3, returnSequences: true, inputShape: [null, 4] })] }),
          ],
        }),
        last(),
      ],
    },
  };
  it.each(Object.entries(chains))('%s', async (_, { shape, at, layers: build }) => {
    const x = input({ shape });
    const y = build().reduce<SymbolicTensor>((t, layer) => layer.apply(t) as SymbolicTensor, x);
    expect(await convertedError(functional(x, y), [sequence(13, ...at)], ++seed)).toBeLessThan(agreed);
  });

  it('BatchNormalization over time, which TF.js computes wrongly on its JavaScript backend', async () => {
    const x = input({ shape: [5, 3] });
    const normalization = layers.batchNormalization({ axis: 1, name: 'n' });
    const y = normalization.apply(x) as SymbolicTensor;
    const m = model({ inputs: x, outputs: [y, last().apply(y) as SymbolicTensor] });
    randomizeWeights(m, new Random(++seed));
    const { json, data } = await saveModel(m);
    const values = sequence(13, 2, 5, 3);
    const [gamma, beta, mean, variance] = normalization.getWeights().map((w) => tf.reshape(w, [1, 5, 1])) as [
      tf.Tensor,
      tf.Tensor,
      tf.Tensor,
      tf.Tensor,
    ];
    const expected = tf.add(tf.mul(tf.div(tf.sub(values, mean), tf.sqrt(tf.add(variance, 1e-3))), gamma), beta);
    const [actual] = [
      ...(await runConverted(filesOf(json, { 'weights.bin': data }), new Map([[x.name, toTensor(values)]]))).values(),
    ];
    expect(relativeError(actual!, toTensor(expected))).toBeLessThan(agreed);
  });

  const kinds = [
    'linear',
    'relu',
    'relu6',
    'elu',
    'selu',
    'sigmoid',
    'hardSigmoid',
    'softplus',
    'softsign',
    'tanh',
    'softmax',
    'logSoftmax',
    'gelu',
    'gelu_new',
    'mish',
    'swish',
  ];
  it.each(kinds)('Dense and Activation with %s', async (activation) => {
    const m = sequential({
      layers: [
        layers.dense({ units: 4, activation: activation as 'relu', inputShape: [null, 3] }),
        last(),
        layers.activation({ activation: activation as 'relu' }),
      ],
    });
    expect(await convertedError(m, [sequence(14, 2, 5, 3)], ++seed)).toBeLessThan(agreed);
  });

  it.each(
    named(
      product({ padding: ['valid', 'same'] as const, strides: [1, 2], dilationRate: [1, 2] }).filter(
        (r) => r.strides === 1 || r.dilationRate === 1,
      ),
    ),
  )('Conv1D: %s', async (_, options) => {
    const m = sequential({
      layers: [layers.conv1d({ filters: 4, kernelSize: 3, activation: 'tanh', inputShape: [null, 3], ...options }), last()],
    });
    expect(await convertedError(m, [sequence(15, 2, 9, 3)], ++seed)).toBeLessThan(agreed);
  });

  it.each(
    named(
      product({
        kind: ['maxPooling1d', 'averagePooling1d'] as const,
        padding: ['valid', 'same'] as const,
        poolSize: [2, 3],
        strides: [1, 2],
      }),
    ),
  )('pooling: %s', async (_, { kind, ...options }) => {
    const x = input({ shape: [null, 3] });
    const y = last().apply(layers[kind](options).apply(lstm().apply(x)));
    expect(await convertedError(functional(x, y), [sequence(16, 2, 7, 3)], ++seed)).toBeLessThan(agreed);
  });

  it.each(['add', 'multiply', 'average', 'maximum', 'minimum', 'concatenate'] as const)('%s of two branches', async (kind) => {
    const x = input({ shape: [null, 3] });
    const a = make('lstm', { units: 4, returnSequences: true }).apply(x) as SymbolicTensor;
    const b = layers.dense({ units: 4 }).apply(x) as SymbolicTensor;
    const y = last().apply((layers[kind] as () => Layer)().apply([a, b]));
    expect(await convertedError(functional(x, y), [sequence(17, 2, 5, 3)], ++seed)).toBeLessThan(agreed);
  });

  it.each([
    [1, 1],
    [2, 2],
    [1, 2],
    [2, 1],
  ])('Dot over the axes %i and %i', async (left, right) => {
    const x = input({ shape: [4, 4] });
    const a = make('lstm', { units: 4, returnSequences: true }).apply(x) as SymbolicTensor;
    const b = make('gru', { units: 4, returnSequences: true }).apply(x) as SymbolicTensor;
    const y = layers.dot({ axes: [left, right] }).apply([a, b]);
    expect(await convertedError(functional(x, y), [sequence(18, 2, 4, 4)], ++seed)).toBeLessThan(agreed);
  });

  it('a broadcast sum, a layer used twice, a model used twice, several outputs, an input that is an output', async () => {
    const x = input({ shape: [null, 3], name: 'x' });
    const z = input({ shape: [4], name: 'z' });
    const shared = make('gru', { units: 4 });
    const inner = sequential({ layers: [layers.dense({ units: 4, inputShape: [4] })] });
    const [a, b] = [shared.apply(x), shared.apply(layers.dense({ units: 3 }).apply(x))] as SymbolicTensor[];
    const whole = make('lstm', { units: 4, returnSequences: true }).apply(x) as SymbolicTensor;
    const spread = layers.add().apply([whole, z]) as SymbolicTensor;
    const outputs = [layers.add().apply([a!, b!]), inner.apply(a!), inner.apply(b!), spread] as SymbolicTensor[];
    const m = model({ inputs: [x, z], outputs });
    expect(await convertedError(m, [sequence(19, 2, 5, 3), sequence(20, 2, 4)], ++seed)).toBeLessThan(agreed);
  });
});

describe('forms of the weights', () => {
  const build = (cell: CellName) =>
    sequential({
      layers: [
        layers.embedding({ inputDim: 7, outputDim: 3, inputLength: 5 }),
        layers.bidirectional({ layer: make(cell, { units: 3, returnSequences: true }), mergeMode: 'concat' }),
        make(cell, { units: 4 }),
        layers.dense({ units: 2 }),
      ],
    });
  const tokens = () =>
    tf.tensor2d([
      [1, 2, 3, 4, 5],
      [6, 0, 1, 2, 3],
    ]);
  async function saved(m: LayersModel) {
    randomizeWeights(m, new Random(++seed));
    return saveModel(m);
  }

  it.each(named(product({ cell: cells, dtype: ['uint8', 'uint16', 'float16'] as const, perGroup: [1, 100] })))(
    'quantised: %s',
    async (_, { cell, dtype, perGroup }) => {
      const { json, data } = await saved(build(cell));
      const small = quantized(json, data, dtype);
      const files = sharded(small.json, small.data, perGroup, 1 << 20, '.bin');
      // TF.js decodes the file by its own means.
      const { verification } = await convertCheckpoint(checkpointFiles(files), {}, runtime, tfjsReference(portableTfjs()), () =>
        Promise.resolve(),
      );
      expect(verification.oracle).toBe('tfjs');
      expect(verification.difference).toBeLessThan(agreed);
    },
  );

  it.each(named(product({ cell: cells, perGroup: [1, 2, 100], shardBytes: [64, 100, 1 << 20], extension: ['', '.bin'] })))(
    'shards: %s',
    async (_, { cell, perGroup, shardBytes, extension }) => {
      const m = build(cell);
      const { json, data } = await saved(m);
      expect(await compareWithTfjs(m, sharded(json, data, perGroup, shardBytes, extension), [tokens()])).toBeLessThan(agreed);
    },
  );
});
