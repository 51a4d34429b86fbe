import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import { expect } from 'vitest';
import { writeModel } from '../../src/checkpoint/onnx/model.js';
import { DataType, numberToHalf, type Tensor } from '../../src/checkpoint/onnx/tensor.js';
import { readTfjs } from '../../src/checkpoint/tfjs/reader.js';
import type { CheckpointFiles } from '../../src/jobs/jobs.js';
import { Random } from './random.js';
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

/** Largest absolute difference over the largest absolute value; infinite where the shapes differ. */
export function relativeError(actual: Tensor, expected: Tensor): number {
  if (actual.dims.join() !== expected.dims.join()) return Infinity;
  const size = expected.data.reduce((a, v) => Math.max(a, Math.abs(v)), 0);
  const difference = actual.data.reduce((a, v, i) => Math.max(a, Math.abs(v - expected.data[i]!)), 0);
  if (Number.isNaN(size + difference)) return Infinity;
  return difference === 0 ? 0 : difference / size;
}

/** Largest relative difference between TF.js and ONNX Runtime over all outputs of a model. */
export async function compareWithTfjs(model: LayersModel, files: TfjsFiles, inputs: readonly tf.Tensor[]): Promise<number> {
  const expected = [model.predict(inputs.length === 1 ? inputs[0]! : [...inputs])].flat();
  const { model: converted, states } = await convert(files);
  const names = converted.graph.input.map((i) => i.name).filter((name) => !states.has(name));
  const actual = await runConverted(files, new Map(inputs.map((t, i) => [names[i]!, toTensor(t)])));
  const outputs = [...actual].filter(([name]) => !states.has(name)).map(([, tensor]) => tensor);
  expect(outputs.length).toBe(expected.length);
  const errors = expected.map((t, i) => relativeError(outputs[i]!, toTensor(t)));
  tf.dispose(expected);
  return Math.max(...errors);
}

/** A random model as files, compared with TF.js running it. */
export async function convertedError(model: LayersModel, inputs: readonly tf.Tensor[], seed: number): Promise<number> {
  randomizeWeights(model, new Random(seed));
  const { json, data } = await saveModel(model);
  const error = await compareWithTfjs(model, filesOf(json, { 'weights.bin': data }), inputs);
  model.dispose();
  tf.dispose([...inputs]);
  return error;
}

/** Cuts a manifest's weights into groups of so many, each group into shards of so many bytes, named as the converter names them. */
export function sharded(json: ModelJson, data: Uint8Array, perGroup: number, shardBytes: number, extension = ''): TfjsFiles {
  const weights = json.weightsManifest.flatMap((group) => group.weights);
  const shards: Record<string, Uint8Array> = {};
  const manifest: ModelJson['weightsManifest'] = [];
  let offset = 0;
  for (let first = 0; first < weights.length; first += perGroup) {
    const group = weights.slice(first, first + perGroup);
    const bytes = group.reduce((sum, w) => sum + byteLength(w), 0);
    const count = Math.max(1, Math.ceil(bytes / shardBytes));
    const paths = Array.from({ length: count }, (_, i) => `group${manifest.length + 1}-shard${i + 1}of${count}${extension}`);
    paths.forEach((path, i) => {
      shards[path] = data.slice(offset + i * shardBytes, offset + Math.min(bytes, (i + 1) * shardBytes));
    });
    manifest.push({ paths, weights: group });
    offset += bytes;
  }
  return filesOf({ ...json, weightsManifest: manifest }, shards);
}

const bytesPerValue: Readonly<Record<string, number>> = { float32: 4, int32: 4, bool: 1, uint8: 1, uint16: 2, float16: 2 };

function byteLength({ shape, dtype, quantization }: WeightEntry): number {
  return shape.reduce((a, b) => a * b, 1) * bytesPerValue[quantization?.dtype ?? dtype]!;
}

/** Stores every weight in fewer bits, as the converter's --quantize options do. */
export function quantized(
  json: ModelJson,
  data: Uint8Array,
  dtype: 'uint8' | 'uint16' | 'float16',
): { json: ModelJson; data: Uint8Array } {
  const parts: Uint8Array[] = [];
  let offset = 0;
  const weights = json.weightsManifest
    .flatMap((group) => group.weights)
    .map((weight): WeightEntry => {
      const values = new Float32Array(data.slice(offset, offset + byteLength(weight)).buffer);
      offset += byteLength(weight);
      if (dtype === 'float16') {
        parts.push(new Uint8Array(Uint16Array.from(values, numberToHalf).buffer));
        return { ...weight, quantization: { dtype } };
      }
      const min = Math.min(...values);
      const levels = dtype === 'uint8' ? 255 : 65535;
      const scale = (Math.max(...values) - min) / levels || 1;
      const codes = Array.from(values, (v) => Math.round((v - min) / scale));
      parts.push(dtype === 'uint8' ? Uint8Array.from(codes) : new Uint8Array(Uint16Array.from(codes).buffer));
      return { ...weight, quantization: { dtype, scale, min } };
    });
  const joined = new Uint8Array(parts.reduce((sum, p) => sum + p.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return { json: { ...json, weightsManifest: [{ paths: ['weights.bin'], weights }] }, data: joined };
}
