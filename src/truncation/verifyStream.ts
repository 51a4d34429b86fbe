import { writeModel } from '../checkpoint/onnx/model.js';
import { DataType, joinedAlong, type Tensor } from '../checkpoint/onnx/tensor.js';
import type { InferenceRuntime, InferenceSession } from '../runtime/inference.js';
import { distance } from '../streaming/truncationCurve.js';
import { joined, StateMap, type Frame } from '../streaming/stateMap.js';
import type { StreamingModel } from '../streaming/streamingModel.js';
import type { Stream } from '../streaming/streams.js';
import type { StatelessModel } from './streaming.js';

/** A stateless model against the original, run frame by frame. Errors are maxima of absolute differences of the outputs. */
export interface StreamComparison {
  /** Against the original on the whole stream; null where the streams are no longer than k frames. */
  readonly output: number | null;
  /** Against the original started anew k frames ago: rounding only. */
  readonly exact: number;
  readonly windows: number;
  /** What rounding may make of values of this size. */
  readonly rounding: number;
  /** Median times of one answer. */
  readonly originalMilliseconds: number;
  readonly statelessMilliseconds: number;
}

const mostWindows = 12;
/** Deep float32 chains add up their roundings; a wrong graph is off by far more. */
const roundingShare = 1e-4;

export async function compareStreams(
  streaming: StreamingModel,
  stateless: StatelessModel,
  streams: readonly Stream[],
  runtime: InferenceRuntime,
  yieldTo: () => Promise<void>,
): Promise<StreamComparison> {
  const outputs = streaming.outputs.map((o) => o.name);
  const map = await StateMap.load(streaming, outputs, runtime);
  try {
    const session = await runtime.load(writeModel(stateless.model), stateless.model.graph.node.length);
    try {
      return await compare(map, session, streaming, stateless.k, streams, yieldTo);
    } finally {
      await session.release();
    }
  } finally {
    await map.release();
  }
}

async function compare(
  map: StateMap,
  session: InferenceSession,
  streaming: StreamingModel,
  k: number,
  streams: readonly Stream[],
  yieldTo: () => Promise<void>,
): Promise<StreamComparison> {
  let output: number | null = null;
  let exact = 0;
  let windows = 0;
  let largest = 0;
  const originalTimes: number[] = [];
  const statelessTimes: number[] = [];
  const perStream = Math.max(1, Math.floor(mostWindows / streams.length));
  for (const stream of streams.filter((s) => s.length >= k).slice(0, mostWindows)) {
    const full: Float64Array[] = [];
    let state = map.initial();
    for (const frame of stream) {
      const next = await timed(originalTimes, () => map.step(state, frame));
      full.push(next.seen);
      state = next.state;
    }
    await yieldTo();
    for (let i = 0; i < perStream; i++) {
      const from = Math.floor(((i + 1) * (stream.length - k)) / perStream);
      const window = stream.slice(from, from + k);
      const results = await timed(statelessTimes, () => session.run(feedsOf(streaming, window)));
      const answer = joined(streaming.outputs.map((o) => results.get(o.name)!.data));
      let fresh = map.initial();
      let seen = answer;
      for (const frame of window) {
        const next = await map.step(fresh, frame);
        fresh = next.state;
        seen = next.seen;
      }
      exact = Math.max(exact, distance(seen, answer));
      if (from > 0) output = Math.max(output ?? 0, distance(full[from + k - 1]!, answer));
      largest = seen.reduce((m, v) => Math.max(m, Math.abs(v)), largest);
      windows++;
      await yieldTo();
    }
  }
  const share = streaming.outputs.some((o) => o.type === DataType.FLOAT16) ? 2e-2 : roundingShare;
  return {
    output,
    exact,
    windows,
    rounding: share * (1 + largest),
    originalMilliseconds: median(originalTimes),
    statelessMilliseconds: median(statelessTimes),
  };
}

async function timed<T>(times: number[], run: () => Promise<T>): Promise<T> {
  const begun = performance.now();
  const result = await run();
  times.push(performance.now() - begun);
  return result;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

/** k frames as the stateless model takes them: behind each other along the time axis, or a new leading one. */
export function feedsOf(streaming: StreamingModel, window: readonly Frame[]): Map<string, Tensor> {
  return new Map(
    streaming.frames.map(({ name, type, dims, timeAxis }) => {
      const each = window.map((frame): Tensor => {
        const data = frame.get(name)!;
        return timeAxis === undefined ? { type, dims: [1, ...dims], data } : { type, dims, data };
      });
      return [name, joinedAlong(each as [Tensor, ...Tensor[]], timeAxis ?? 0)];
    }),
  );
}
