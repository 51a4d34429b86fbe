import { elementCount } from '../checkpoint/onnx/tensor.js';
import type { OnnxCheckpoint } from '../checkpoint/onnx/reader.js';
import { BadInputError } from '../errors.js';
import { distance, type CausalSystem } from '../network/causalSystem.js';
import type { History } from '../measurement/history.js';
import type { InferenceRuntime } from '../runtime/inference.js';
import { StateMap, type Frame } from './stateMap.js';
import type { StreamingModel } from './streamingModel.js';

/**
 * Feeds two histories to a streaming model in ONNX Runtime, frame by frame.
 * @returns max |Δh| of the system's outputs after each of the last `commonSteps` frames, entry 0 before them; null where the
 * model's frames are no inputs of the system, or ONNX Runtime refuses the model
 */
export async function replayStream(
  streaming: StreamingModel,
  { nodes }: OnnxCheckpoint,
  system: CausalSystem,
  histories: readonly [History, History],
  commonSteps: number,
  runtime: InferenceRuntime,
  yieldTo: (fraction: number) => Promise<void>,
): Promise<Float64Array | null> {
  const { frames } = streaming;
  const sizes = new Map(frames.map(({ name, dims }) => [name, elementCount(dims)]));
  if (system.sources.some(({ name, size }) => sizes.get(name) !== size)) return null;
  const frame = (history: History, t: number): Frame =>
    new Map(frames.map(({ name }) => [name, history.at(name, t) ?? new Float64Array(sizes.get(name)!)]));
  try {
    const observed = system.outputs.map(({ layer }) => nodes[layer]!.yH || nodes[layer]!.y);
    const map = await StateMap.load(streaming, observed, runtime);
    try {
      const states = histories.map(() => map.initial());
      const distances = new Float64Array(commonSteps + 1);
      const total = histories[0].steps;
      for (let t = 0; t < total; t++) {
        const seen: Float64Array[] = [];
        for (const [i, history] of histories.entries()) {
          const next = await map.step(states[i]!, frame(history, t));
          states[i] = next.state;
          seen.push(next.seen);
        }
        const entry = t - (total - 1 - commonSteps);
        if (entry >= 0) distances[entry] = distance(seen[0]!, seen[1]!);
        if (t % 16 === 0) await yieldTo(t / total);
      }
      return distances;
    } finally {
      await map.release();
    }
  } catch (error) {
    if (error instanceof BadInputError && error.code === 'runtime-refused') return null;
    throw error;
  }
}
