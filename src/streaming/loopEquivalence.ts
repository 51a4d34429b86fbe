import { writeModel, type ModelProtoWithGraph } from '../checkpoint/onnx/model.js';
import { isFloat, joinedAlong, type Tensor } from '../checkpoint/onnx/tensor.js';
import { formatNumber } from '../report/format.js';
import type { InferenceRuntime } from '../runtime/inference.js';
import { StateMap } from './stateMap.js';
import type { Port, StreamingModel } from './streamingModel.js';
import { syntheticStreams } from './streams.js';
import { distance } from './truncationCurve.js';

const steps = 6;
/** Two orders of the same sums in float32, over a few steps. */
const tolerance = 1e-4;

/**
 * Runs a model over a whole sequence and step by step, as a streaming model, and compares all outputs at every step.
 * @param length of the sequence that the model takes; null: any
 * @returns null where they agree, else the difference in words
 */
export async function differenceFromLoop(
  model: ModelProtoWithGraph,
  streaming: StreamingModel,
  length: number | null,
  runtime: InferenceRuntime,
): Promise<string | null> {
  const names = streaming.outputs.filter((o) => isFloat(o.type)).map((o) => o.name);
  const [stream] = syntheticStreams(streaming, { lower: -1, upper: 1 }, 1, length ?? steps, 41);
  const [first] = stream!;
  // What is no sequence is the same for every step.
  const frames = stream!.map(
    (frame) => new Map([...frame].map(([name, v]) => [name, isSequence(streaming, name) ? v : first!.get(name)!])),
  );
  const inputs = new Set(model.graph.input.map((i) => i.name));
  const feeds = new Map<string, Tensor>();
  for (const port of streaming.frames) {
    const tensors = frames.map((frame): Tensor => ({ type: port.type, dims: port.dims, data: frame.get(port.name)! }));
    const [one, ...rest] = tensors as [Tensor, ...Tensor[]];
    feeds.set(port.name, port.timeAxis === undefined ? one : joinedAlong([one, ...rest], port.timeAxis));
  }
  for (const s of streaming.states)
    if (inputs.has(s.input)) feeds.set(s.input, { type: s.type, dims: s.dims, data: new Float64Array(size(s.dims)) });
  const session = await runtime.load(writeModel(model)).catch(() => null);
  if (!session) return 'ONNX Runtime cannot run it';
  const map = await StateMap.load(streaming, names, runtime);
  try {
    const whole = await session.run(feeds).catch((error: unknown) => String(error).split('\n')[0]!);
    if (typeof whole === 'string') return whole;
    let state = map.initial();
    const seen: Float64Array[] = [];
    for (const frame of frames) {
      const next = await map.step(state, frame);
      state = next.state;
      seen.push(next.seen);
    }
    let offset = 0;
    for (const name of names) {
      const port = streaming.outputs.find((o) => o.name === name)!;
      const part = seen.map((values) => values.subarray(offset, offset + size(port.dims)));
      offset += size(port.dims);
      const error = outputDifference(whole.get(name)!, port, part);
      if (!(error <= tolerance)) return `output ${name} differs by ${formatNumber(error)}`;
    }
    return null;
  } finally {
    await session.release();
    await map.release();
  }
}

/** Against all steps where the output has an axis of them, else against the last. */
function outputDifference(whole: Tensor, port: Port, steps: readonly Float64Array[]): number {
  const axis = whole.dims.findIndex((d, i) => d !== port.dims[i]);
  const last = steps[steps.length - 1]!;
  if (axis < 0) return whole.data.length === last.length ? distance(whole.data, last) : Infinity;
  const tensors = steps.map((data): Tensor => ({ type: port.type, dims: port.dims, data }));
  const joined = joinedAlong(tensors as [Tensor, ...Tensor[]], axis);
  return joined.data.length === whole.data.length ? distance(whole.data, joined.data) : Infinity;
}

function isSequence({ frames }: StreamingModel, name: string): boolean {
  return frames.find((f) => f.name === name)?.timeAxis !== undefined;
}

const size = (dims: readonly number[]) => dims.reduce((a, b) => a * b, 1);
