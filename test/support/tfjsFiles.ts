import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import { writeModel } from '../../src/checkpoint/onnx/model.js';
import { DataType, type Tensor } from '../../src/checkpoint/onnx/tensor.js';
import { readTfjs } from '../../src/checkpoint/tfjs/reader.js';
import type { CheckpointFiles } from '../../src/jobs/jobs.js';
import type { Random } from './random.js';
import { largestError } from './reference.js';
import { runModel } from './runtime.js';

/** TF.js checkpoints in memory: model.json and its shards by name. */
export type TfjsFiles = Map<string, Uint8Array>;

interface WeightEntry {
  name: string;
  shape: number[];
  dtype: string;
  quantization?: { dtype: string; scale?: number; min?: number };
}

export interface ModelJson {
  modelTopology: Record<string, unknown>;
  weightsManifest: { paths: string[]; weights: WeightEntry[] }[];
  [key: string]: unknown;
}

/** Gives every weight random numbers, so that no part of a model can hide behind zeros. */
export function randomizeWeights(model: LayersModel, random: Random, scale = 0.6): void {
  const values = model.weights.map((weight) => {
    const size = weight.shape.reduce<number>((a, d) => a * d!, 1);
    const low = weight.name.includes('variance') ? 0.5 : -scale;
    return tf.tensor(Float32Array.from(random.floats(size, low, low < 0 ? scale : 2)), weight.shape as number[]);
  });
  model.setWeights(values);
  tf.dispose(values);
}

/** What `model.save` writes. */
export async function saveModel(model: LayersModel): Promise<{ json: ModelJson; data: Uint8Array }> {
  let saved: tf.io.ModelArtifacts | undefined;
  await model.save(
    tf.io.withSaveHandler((artifacts) => {
      saved = artifacts;
      return Promise.resolve({ modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: 'JSON' as const } });
    }),
  );
  const { modelTopology, weightSpecs, weightData, format, generatedBy, convertedBy } = saved!;
  const data = new Uint8Array(weightData as ArrayBuffer);
  const json: ModelJson = {
    modelTopology: modelTopology as Record<string, unknown>,
    weightsManifest: [{ paths: ['weights.bin'], weights: weightSpecs as WeightEntry[] }],
    format,
    generatedBy,
    convertedBy,
  };
  return { json, data };
}

export function filesOf(json: unknown, shards: Readonly<Record<string, Uint8Array>>): TfjsFiles {
  return new Map([['model.json', new TextEncoder().encode(JSON.stringify(json))], ...Object.entries(shards)]);
}

/** The files as a job sees them. */
export function checkpointFiles(files: TfjsFiles): CheckpointFiles {
  return {
    name: 'model.json',
    read: () => Promise.resolve(files.get('model.json')!),
    readSibling: (path) => Promise.resolve(files.get(path)),
  };
}

export async function convert(files: TfjsFiles) {
  return readTfjs(files.get('model.json')!, (path) => Promise.resolve(files.get(path)));
}

/** Runs the converted model in ONNX Runtime; states that the caller of a stateful model carries are zero. */
export async function runConverted(files: TfjsFiles, feeds: ReadonlyMap<string, Tensor>): Promise<Map<string, Tensor>> {
  const { model } = await convert(files);
  const all = new Map(feeds);
  for (const input of model.graph.input) {
    if (all.has(input.name)) continue;
    const type = input.type!.value;
    if (type.case !== 'tensorType') throw new Error(`input ${input.name}`);
    const dims = type.value.shape!.dim.map((d) => (d.value.case === 'dimValue' ? Number(d.value.value) : 1));
    all.set(input.name, { type: DataType.FLOAT, dims, data: new Float64Array(dims.reduce((a, b) => a * b, 1)) });
  }
  return runModel(writeModel(model), all);
}

export function toTensor(t: tf.Tensor): Tensor {
  const type = t.dtype === 'int32' ? DataType.INT32 : DataType.FLOAT;
  return { type, dims: t.shape, data: Float64Array.from(t.dataSync()) };
}

/** Largest relative difference between TF.js and ONNX Runtime over all outputs of a model. */
export async function compareWithTfjs(model: LayersModel, files: TfjsFiles, inputs: readonly tf.Tensor[]): Promise<number> {
  const expected = [model.predict(inputs.length === 1 ? inputs[0]! : [...inputs])].flat();
  const names = (model.inputs as { name: string }[]).map((i) => i.name.replace(/\/.*/, ''));
  const actual = await runConverted(files, new Map(inputs.map((t, i) => [names[i]!, toTensor(t)])));
  const outputs = [...actual].filter(([name]) => !name.endsWith('_next')).map(([, tensor]) => tensor);
  if (outputs.length !== expected.length) return Infinity;
  const errors = expected.map((t, i) =>
    t.shape.join() === outputs[i]!.dims.join() ? largestError(outputs[i]!.data, t.dataSync()) : Infinity,
  );
  tf.dispose(expected);
  return Math.max(...errors);
}
