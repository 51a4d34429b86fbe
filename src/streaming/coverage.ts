import { dependents } from '../checkpoint/onnx/graphs.js';
import { isRecurrent, type RecurrentNode } from '../checkpoint/onnx/recurrent.js';
import { timeAndBatch, type OnnxCheckpoint } from '../checkpoint/onnx/reader.js';
import { dimSize } from '../checkpoint/onnx/dims.js';
import type { RecurrentNetwork } from '../network/network.js';
import { stateSize } from '../network/cell.js';
import type { InferenceRuntime } from '../runtime/inference.js';
import { initialState, joined, StateMap, type Frame, type State } from './stateMap.js';
import { syntheticStreams } from './streams.js';
import type { StreamingModel } from './streamingModel.js';

/** The layers as they run over the calls: one step a call, from the state in which a stream starts. */
export async function streamedNetwork(
  streaming: StreamingModel,
  checkpoint: OnnxCheckpoint,
  runtime: InferenceRuntime,
): Promise<RecurrentNetwork> {
  const { nodes, network } = checkpoint;
  const fromZero = streaming.states.every((s) => s.initial === null);
  const starts = fromZero
    ? null
    : await startValues(streaming, checkpoint, initialState(streaming), aFrame(streaming, 1), runtime);
  const startOf = ({ initialH, initialC }: RecurrentNode) =>
    joined([initialH, initialC].filter((name) => name !== '').map((name) => starts!.get(name)!));
  return {
    layers: network.layers.map((layer, i) => ({
      ...layer,
      name: nodes[i]!.node.name || layer.name,
      directions: layer.directions.map((d) =>
        d.initialState === 'input'
          ? { ...d, initialState: starts ? startOf(nodes[i]!) : new Float64Array(stateSize(d.cell)) }
          : d,
      ),
    })),
  };
}

/** What the layers start from in a frame, by the names of their initial states. */
async function startValues(
  streaming: StreamingModel,
  { nodes, shapes }: OnnxCheckpoint,
  state: State,
  frame: Frame,
  runtime: InferenceRuntime,
): Promise<Map<string, Float64Array>> {
  const names = nodes.flatMap((n) => [n.initialH, n.initialC].filter((name) => name !== ''));
  const states = new Map(streaming.states.map((s, i) => [s.input, i]));
  // An input of the graph is no tensor that could be looked at, but its value is known: it is what is fed.
  const inside = [...new Set(names.filter((name) => !states.has(name)))];
  const map = await StateMap.load(streaming, inside, runtime);
  try {
    const seen = inside.length > 0 ? (await map.step(state, frame)).seen : new Float64Array();
    let offset = 0;
    const found = new Map(names.filter((name) => states.has(name)).map((name) => [name, map.part(state, states.get(name)!)]));
    for (const name of inside) {
      const size = (shapes.shape(name) ?? []).reduce((n, dim) => n * (dimSize(dim) ?? 1), 1);
      found.set(name, seen.subarray(offset, offset + size));
      offset += size;
    }
    return found;
  } finally {
    await map.release();
  }
}

function aFrame(streaming: StreamingModel, seed: number): Frame {
  return syntheticStreams(streaming, { lower: -1, upper: 1 }, 1, 1, seed)[0]![0]!;
}

/**
 * Why the recurrent layers do not account for the whole carried state, in words; null when they do, and the certificates
 * of the layers are then certificates of the streaming model.
 */
export async function uncoveredState(
  streaming: StreamingModel,
  checkpoint: OnnxCheckpoint,
  runtime: InferenceRuntime,
): Promise<string | null> {
  const { nodes, shapes, model } = checkpoint;
  if (nodes.length === 0) return 'no RNN, LSTM or GRU cell was recognised in it';
  const other = streaming.states.find((s) => s.kind === 'cache' || s.kind === 'general' || s.kind === 'mixed');
  if (other) return `the state ${other.input} is not, or not only, the state of recurrent layers`;
  const carried = new Set(streaming.states.flatMap((s) => s.of));
  for (const [i, { node, directions }] of nodes.entries()) {
    const name = checkpoint.network.layers[i]!.name;
    const axes = timeAndBatch(nodes[i]!, shapes);
    if (!carried.has(name)) return `the layer ${name} does not carry its state from frame to frame`;
    if (!axes || dimSize(axes.time) !== 1 || directions.length !== 1)
      return `the layer ${name} runs over more than one step in a frame`;
    if (nodes.filter((n) => n.node.name === node.name).length > 1) return `several layers are named ${name}`;
  }
  const within = dependents(
    model.graph.node.filter((n) => !isRecurrent(n)),
    streaming.states.map((s) => s.input),
  );
  const bypass = nodes.findIndex((n) => within.has(n.x));
  if (bypass >= 0) return `the input of ${checkpoint.network.layers[bypass]!.name} depends on the carried state directly`;
  return (await returnsWhatItTakes(streaming, checkpoint, runtime))
    ? null
    : 'the states do not come back to the layers that they left';
}

/** Runs two frames: what the layers end with in the first must be what they start from in the second, number by number. */
async function returnsWhatItTakes(
  streaming: StreamingModel,
  checkpoint: OnnxCheckpoint,
  runtime: InferenceRuntime,
): Promise<boolean> {
  const { nodes } = checkpoint;
  const starts = nodes.flatMap((n) => [n.initialH, n.initialC].filter((name) => name !== ''));
  const ends = nodes.flatMap((n) => [n.yH === '' ? n.y : n.yH, ...(n.initialC === '' ? [] : [n.yC])]);
  if (ends.includes('')) return false;
  const map = await StateMap.load(streaming, ends, runtime);
  try {
    const somewhere = map.initial().map((_, i) => Math.sin(i + 1) / 2);
    const { state, seen } = await map.step(somewhere, aFrame(streaming, 31));
    const values = await startValues(streaming, checkpoint, state, aFrame(streaming, 32), runtime);
    const started = joined(starts.map((name) => values.get(name)!));
    return seen.length === started.length && seen.every((v, i) => v === started[i]);
  } finally {
    await map.release();
  }
}
