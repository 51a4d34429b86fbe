import { BadInputError } from '../../errors.js';
import { isLfsPointer } from '../contents.js';
import { convertModel, layerNames, type ConvertedModel } from './convert.js';
import { isObject, parseJson, type JsonObject, type JsonText } from './json.js';
import { readWeights, type ReadSibling } from './shards.js';
import { isModel, TopologyReader } from './topology.js';
import { WeightStore } from './weights.js';

/** A TF.js layers model, converted to ONNX in memory. */
export interface TfjsCheckpoint extends ConvertedModel {
  /** Bytes of model.json and of all weights. */
  readonly bytes: number;
}

const recurrentClasses = /^(SimpleRNN|LSTM|GRU|RNN|Bidirectional|ConvLSTM\dD|ConvRNN2D|CuDNN(LSTM|GRU))$/;

/** @throws BadInputError that names the layer, the shard or the place in the text */
export async function readTfjs(bytes: Uint8Array, read: ReadSibling): Promise<TfjsCheckpoint> {
  if (bytes.length === 0) throw new BadInputError('empty-file', 'the file is empty');
  if (isLfsPointer(bytes)) {
    throw new BadInputError('git-lfs-pointer', 'this is a Git LFS pointer, not the model; run `git lfs pull` to fetch the model');
  }
  const json = parseJson(bytes);
  const root = json.value;
  const topology = isObject(root)
    ? (root['model_topology'] ?? (root['model_config'] === undefined ? undefined : root))
    : undefined;
  if (!isObject(root) || !isObject(topology)) {
    throw new BadInputError('not-tfjs', 'this JSON file is no TF.js model: it has no modelTopology');
  }
  if (Array.isArray(topology['node']) || root['format'] === 'graph-model') refuseGraphModel(topology, json);
  const described = isObject(topology['model_config']) ? topology['model_config'] : topology;
  if (!findClass(described, recurrentClasses)) {
    throw new BadInputError('no-recurrence', 'the TF.js model has no recurrent layer');
  }
  const reader = new TopologyReader(json, kerasMajor(topology));
  const config = reader.layer(described, 'modelTopology');
  if (!isModel(config)) {
    throw new BadInputError(
      'bad-topology',
      `the model is a ${config.className}, neither Sequential nor Functional`,
      config.place,
    );
  }
  const { weights, bytes: weightBytes } = await readWeights(root['weights_manifest'], read);
  const converted = convertModel(config, reader, new WeightStore(weights, layerNames(described)), producerOf(root, topology));
  return { ...converted, bytes: bytes.length + weightBytes };
}

/** TF.js writes "tfjs-layers 4.22.0", and its layers mean what Keras 2 meant. */
function kerasMajor(topology: JsonObject): number {
  const version = topology['keras_version'];
  const match = typeof version === 'string' ? /^(\d+)\./.exec(version) : null;
  return match ? Number(match[1]) : 2;
}

function producerOf(root: JsonObject, topology: JsonObject): string {
  const generated = root['generated_by'];
  if (typeof generated === 'string') return generated;
  const keras = topology['keras_version'];
  return typeof keras === 'string' ? `Keras ${keras}` : 'TensorFlow.js';
}

function findClass(value: unknown, wanted: RegExp): boolean {
  if (Array.isArray(value)) return value.some((v) => findClass(v, wanted));
  if (!isObject(value)) return false;
  const name = value['class_name'];
  return (typeof name === 'string' && wanted.test(name)) || Object.values(value).some((v) => findClass(v, wanted));
}

const loopOperators = new Set(['While', 'StatelessWhile', 'LoopCond', 'NextIteration']);

/** A graph model is TensorFlow's graph, in which a recurrent layer is a loop and no longer a layer. */
function refuseGraphModel(topology: JsonObject, json: JsonText): never {
  const library = isObject(topology['library']) ? topology['library']['function'] : undefined;
  const functions: unknown[] = Array.isArray(library) ? library : [];
  const lists = [topology['node'], ...functions.map((f) => (isObject(f) ? (f['node_def'] ?? f['nodeDef']) : undefined))];
  const nodes = lists.flatMap((list): unknown[] => (Array.isArray(list) ? list : [])).filter(isObject);
  const loop = nodes.find((node) => typeof node['op'] === 'string' && loopOperators.has(node['op']));
  if (loop) {
    throw new BadInputError(
      'recurrence-in-control-flow',
      `a TF.js graph model whose recurrence is a While loop (node ${String(loop['name'])}), which is not analysed yet; ` +
        'convert the Keras model with --output_format=tfjs_layers_model, which keeps its recurrent layers',
      json.placeOf(loop),
    );
  }
  throw new BadInputError('no-recurrence', 'a TF.js graph model without a loop: nothing in it recurs');
}
