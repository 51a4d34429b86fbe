import * as tf from '@tensorflow/tfjs-core';
import { input, layers, model as layersModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import type { RecurrentModel } from './recurrent.js';

/** A trained RNN with its dense head as TF.js saves a layers model: model.json and its weights, by name. */
export async function tfjsModel(model: RecurrentModel, inputName: string): Promise<ReadonlyMap<string, Uint8Array>> {
  if (model.kind !== 'rnn') throw new Error('Only the plain RNN has been trained in the form of a TF.js layer');
  const { input: size, hidden, output } = model.sizes;
  const x = input({ shape: [null, size], name: inputName });
  // The weights replace what initializers give; TF.js' own for recurrent ones is slow.
  const rnn = layers.simpleRNN({ units: hidden, returnSequences: true, recurrentInitializer: 'zeros', name: 'rnn' });
  const head = layers.dense({ units: output, name: 'state' });
  const m = layersModel({ inputs: x, outputs: head.apply(rnn.apply(x)) as SymbolicTensor, name: 'oscillator' });
  tf.tidy(() => {
    const [kernel, bias] = tf.split(tf.transpose(model.input), [size, 1]) as [tf.Tensor, tf.Tensor];
    rnn.setWeights([kernel, tf.transpose(model.recurrent), tf.reshape(bias, [hidden])]);
    head.setWeights([model.head, tf.reshape(model.headBias, [output])]);
  });
  let saved: tf.io.ModelArtifacts | undefined;
  await m.save(
    tf.io.withSaveHandler((artifacts) => {
      saved = artifacts;
      return Promise.resolve({ modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: 'JSON' as const } });
    }),
  );
  const { modelTopology, weightSpecs, weightData, format, generatedBy, convertedBy } = saved!;
  const weightsManifest = [{ paths: ['weights.bin'], weights: weightSpecs }];
  const json = JSON.stringify({ format, generatedBy, convertedBy, modelTopology, weightsManifest }, null, 2);
  return new Map([
    ['model.json', new TextEncoder().encode(`${json}\n`)],
    ['weights.bin', new Uint8Array(weightData as ArrayBuffer)],
  ]);
}
