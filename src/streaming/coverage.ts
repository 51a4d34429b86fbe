import { dependents } from '../checkpoint/onnx/graphs.js';
import { isRecurrent } from '../checkpoint/onnx/recurrent.js';
import { timeAndBatch, type OnnxCheckpoint } from '../checkpoint/onnx/reader.js';
import { dimSize } from '../checkpoint/onnx/dims.js';
import type { RecurrentNetwork } from '../network/network.js';
import { stateSize } from '../network/cell.js';
import type { InferenceRuntime } from '../runtime/inference.js';
import { joined, StateMap } from './stateMap.js';
import { syntheticStreams } from './streams.js';
import type { StreamingModel } from './streamingModel.js';

/** The layers as they run over the calls: from a state of zero, one step a call. */
export function streamedNetwork({ nodes, network }: OnnxCheckpoint): RecurrentNetwork {
  return {
    layers: network.layers.map((layer, i) => ({
      ...layer,
      name: nodes[i]!.node.name || layer.name,
      directions: layer.directions.map((d) =>
        d.initialState === 'input' ? { ...d, initialState: new Float64Array(stateSize(d.cell)) } : d,
      ),
    })),
  };
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
  // An input of the graph is no tensor that could be looked at, but its value is known: it is what was fed.
  const fed = new Set(streaming.states.map((s) => s.input));
  const inside = starts.filter((name) => !fed.has(name));
  const [frame, next] = syntheticStreams(streaming, { lower: -1, upper: 1 }, 1, 2, 31)[0]!;
  const first = await StateMap.load(streaming, ends, runtime);
  const second = await StateMap.load(streaming, inside, runtime);
  try {
    const before = await first.step(
      first.initial().map((_, i) => Math.sin(i + 1) / 2),
      frame!,
    );
    const seen = inside.length > 0 ? (await second.step(before.state, next!)).seen : new Float64Array();
    let offset = 0;
    const values = starts.map((name) => {
      const state = streaming.states.findIndex((s) => s.input === name);
      if (state >= 0) return first.part(before.state, state);
      const size = sizeOf(name, checkpoint);
      offset += size;
      return seen.subarray(offset - size, offset);
    });
    const started = joined(values);
    return before.seen.length === started.length && before.seen.every((v, i) => v === started[i]);
  } finally {
    await first.release();
    await second.release();
  }
}

function sizeOf(name: string, { shapes }: OnnxCheckpoint): number {
  return (shapes.shape(name) ?? []).reduce((size, dim) => size * (dimSize(dim) ?? 1), 1);
}
