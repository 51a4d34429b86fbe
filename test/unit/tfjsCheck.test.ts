import * as tf from '@tensorflow/tfjs-core';
import { input, layers, model, sequential, type LayersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { beforeAll, describe, expect, it } from 'vitest';
import { portableTfjs } from '../../src/cli/portableTfjs.js';
import { check } from '../../src/jobs/check.js';
import { exportTruncated } from '../../src/jobs/export.js';
import { defaultCheckOptions } from '../../src/jobs/jobs.js';
import { Random } from '../support/random.js';
import { runtime } from '../support/runtime.js';
import { checkpointFiles, filesOf, randomizeWeights, saveModel } from '../support/tfjsFiles.js';

/** Check and export of TF.js models as users build them: what stands between the layers is followed, whatever the conversion writes. */

const silent = () => Promise.resolve();
const options = { ...defaultCheckOptions, maxLength: 24 };
const initializers = { kernelInitializer: 'zeros', recurrentInitializer: 'zeros' } as const;
const lstm = (units: number, more: object = {}) => layers.lstm({ units, ...initializers, ...more });
const gru = (units: number, more: object = {}) => layers.gru({ units, ...initializers, ...more });

beforeAll(async () => {
  portableTfjs();
  await tf.setBackend('cpu');
});

async function files(m: LayersModel, scale = 0.25) {
  randomizeWeights(m, new Random(5), scale);
  const { json, data } = await saveModel(m);
  return checkpointFiles(filesOf(json, { 'weights.bin': data }));
}

describe('check', () => {
  it.each<[string, () => LayersModel, object[]]>([
    [
      'an embedding, two layers and a head',
      () =>
        sequential({
          layers: [
            layers.embedding({ inputDim: 9, outputDim: 4, inputLength: 12, name: 'e' }),
            lstm(3, { returnSequences: true, name: 'a' }),
            gru(2, { name: 'b' }),
            layers.dense({ units: 2 }),
          ],
        }),
      [
        { name: 'a', cell: 'lstm', direction: 'forward', inputSize: 4 },
        { name: 'b', cell: 'gru', direction: 'forward', inputSize: 3 },
      ],
    ],
    [
      'bidirectional layers with normalisation and a dense layer between',
      () =>
        sequential({
          layers: [
            layers.bidirectional({
              layer: lstm(3, { returnSequences: true }) as never,
              mergeMode: 'concat',
              inputShape: [null, 4],
              name: 'a',
            }),
            layers.batchNormalization({}),
            layers.timeDistributed({ layer: layers.dense({ units: 3, activation: 'tanh' }) }),
            layers.bidirectional({ layer: gru(2, { returnSequences: true }) as never, mergeMode: 'sum', name: 'b' }),
          ],
        }),
      [
        { name: 'a', cell: 'lstm', direction: 'bidirectional', inputSize: 4 },
        { name: 'b', cell: 'gru', direction: 'bidirectional', inputSize: 3 },
      ],
    ],
    [
      'stacked cells with a skip connection, in a nested model',
      () => {
        const x = input({ shape: [null, 3] });
        const inner = sequential({
          name: 'inner',
          layers: [
            layers.rnn({
              cell: [layers.lstmCell({ units: 3, ...initializers }), layers.gruCell({ units: 3, ...initializers })] as never,
              returnSequences: true,
              name: 'a',
              inputShape: [null, 3],
            } as never),
          ],
        });
        const sum = layers.add().apply([inner.apply(x) as SymbolicTensor, x]) as SymbolicTensor;
        return model({ inputs: x, outputs: lstm(2, { name: 'b' }).apply(sum) as SymbolicTensor });
      },
      [
        { name: 'inner/a/cell_0', cell: 'lstm' },
        { name: 'inner/a/cell_1', cell: 'gru' },
        { name: 'b', cell: 'lstm', inputSize: 3 },
      ],
    ],
  ])('%s: every layer is found and followed', async (_, build, expected) => {
    const report = await check(await files(build()), options, runtime, silent);
    expect(report.layers).toMatchObject(expected);
    expect(report.layers.every((layer) => layer.place !== undefined)).toBe(true);
    expect(report.diagnostics.map((d) => d.code)).not.toContain('operator-not-understood');
    expect(report.curve.measured).not.toBeNull();
    expect(report.lambda).not.toBeNull();
  });

  it('a masked embedding: certified over the range of its rows, wider than what is stated', async () => {
    const m = sequential({ layers: [layers.embedding({ inputDim: 9, outputDim: 4, inputLength: 8, maskZero: true }), lstm(3)] });
    const report = await check(await files(m, 2), options, runtime, silent);
    const { source, lower, upper } = report.inputRange;
    expect(source).toBe('derived');
    expect(Math.min(...(lower as number[]))).toBeLessThan(-1);
    expect(Math.max(...(upper as number[]))).toBeGreaterThan(1);
    expect(report.curve.measured).not.toBeNull();
    expect(report.diagnostics.map((d) => d.code)).not.toContain('operator-not-understood');
  });

  it('masked values: certified over the stated range, and the operator that moves the steps is named', async () => {
    const m = sequential({ layers: [layers.masking({ maskValue: 0, inputShape: [8, 2] }), lstm(3)] });
    const report = await check(await files(m), options, runtime, silent);
    expect(report.layers[0]!.lambda).not.toBeNull();
    expect(report.diagnostics.find((d) => d.code === 'operator-not-understood')?.message).toContain('MatMul');
  });

  it('a stateful model: its states are inputs, which the report says', async () => {
    const m = sequential({ layers: [lstm(3, { stateful: true, returnSequences: true, batchInputShape: [1, 6, 2], name: 'a' })] });
    const report = await check(await files(m), options, runtime, silent);
    expect(report.diagnostics.find((d) => d.code === 'initial-state-input')).toMatchObject({
      layer: 'a',
      place: report.layers[0]!.place,
    });
  });
});

describe('export', () => {
  const tokens = (more: object = {}) => layers.embedding({ inputDim: 9, outputDim: 4, ...more });
  const chain = (...parts: ReturnType<typeof layers.dense>[]) => sequential({ layers: parts });
  it.each<[string, () => LayersModel]>([
    [
      'embedding, LSTM, head',
      () => chain(tokens() as never, lstm(3) as never, layers.dense({ units: 9, activation: 'softmax' }) as never),
    ],
    [
      'two GRU layers, an answer at every step',
      () =>
        chain(
          gru(3, { returnSequences: true, inputShape: [null, 2] }) as never,
          gru(3, { returnSequences: true }) as never,
          layers.timeDistributed({ layer: layers.dense({ units: 2 }) }) as never,
        ),
    ],
    [
      'bidirectional, an answer at every step',
      () =>
        chain(
          layers.bidirectional({
            layer: lstm(3, { returnSequences: true }) as never,
            mergeMode: 'concat',
            inputShape: [null, 2],
          }) as never,
          layers.dense({ units: 2 }) as never,
        ),
    ],
    ['backwards, the last answer', () => chain(gru(3, { goBackwards: true, inputShape: [null, 2] }) as never)],
    [
      'a fixed length, a bidirectional last answer',
      () => chain(layers.bidirectional({ layer: lstm(3) as never, mergeMode: 'ave', inputShape: [7, 2] }) as never),
    ],
    [
      'a fixed length with masks',
      () =>
        chain(tokens({ maskZero: true, inputLength: 7 }) as never, lstm(3, { returnSequences: true }) as never, gru(2) as never),
    ],
    [
      'a fixed length, flattened',
      () =>
        chain(
          lstm(3, { returnSequences: true, inputShape: [6, 2] }) as never,
          layers.flatten() as never,
          layers.dense({ units: 2 }) as never,
        ),
    ],
  ])('%s: verified', async (name, build) => {
    const { verification } = await exportTruncated(
      await files(build()),
      { ...options, length: name.startsWith('a fixed') ? 'auto' : 10 },
      runtime,
      silent,
    );
    expect(verification.passed).toBe(true);
    expect(verification.windows).toBeGreaterThan(0);
    expect(verification.summary).toContain('Conversion verified against the cell equations of Keras');
  });

  it('says that masks need the whole sequence where its length is free', async () => {
    const m = chain(tokens({ maskZero: true }) as never, lstm(3) as never);
    await expect(exportTruncated(await files(m), { ...options, length: 8 }, runtime, silent)).rejects.toMatchObject({
      code: 'needs-whole-sequence',
    });
  });
});
