import { distance } from '../network/causalSystem.js';
import { Curve, type MeasuredCurve } from '../measurement/measuredCurve.js';
import type { State, StateMap } from './stateMap.js';
import type { Stream } from './streams.js';

/** Time that measuring one curve may take; more windows are compared where steps are fast. */
const budgetMilliseconds = 15_000;
const mostWindows = 16;

/**
 * Truncation error of a streaming model, measured by running it: the stream from its start against the stream whose state
 * was set back to the initial one k frames ago.
 * @param groups how many of the values seen belong together; each group gets a curve of its own
 * @param yieldTo called with the fraction done
 */
export async function measureTruncation(
  map: StateMap,
  streams: readonly Stream[],
  maxLength: number,
  groups: readonly number[],
  yieldTo: (fraction: number) => Promise<void>,
): Promise<MeasuredCurve[]> {
  const shortest = Math.min(...streams.map((s) => s.length));
  const longest = Math.max(0, Math.min(maxLength, shortest - 1));
  const lengths = Array.from({ length: longest + 1 }, (_, k) => k);
  const curves = groups.map(() => new Curve(lengths, streams.length));
  const record = (k: number, sequence: number, position: number, a: Float64Array, b: Float64Array | null) => {
    let offset = 0;
    for (const [i, size] of groups.entries()) {
      const own = a.subarray(offset, offset + size);
      const error = b === null ? 0 : distance(own, b.subarray(offset, offset + size));
      curves[i]!.record(k, sequence, position, error);
      offset += size;
    }
  };
  for (const [index, stream] of streams.entries()) {
    const begun = performance.now();
    const seen: Float64Array[] = [];
    const states: State[] = [map.initial()];
    for (const frame of stream) {
      const next = await map.step(states[states.length - 1]!, frame);
      seen.push(next.seen);
      states.push(next.state);
      if (seen.length % 16 === 0) await yieldTo(index / streams.length);
    }
    const perStep = (performance.now() - begun) / stream.length;
    const affordable = Math.floor(budgetMilliseconds / streams.length / Math.max(perStep * Math.max(1, longest), 1e-3));
    const starts = Math.max(1, Math.min(mostWindows, affordable, stream.length - 1));
    // k = 0: no frame is seen at all, and the answer is zero.
    const nothing = seen[0]!.map(() => 0);
    for (const [t, value] of seen.entries()) record(0, index, t, value, nothing);
    // Windows of full length only, so that every k is compared equally often.
    const room = Math.max(1, stream.length - longest);
    for (let i = 0; i < Math.min(starts, room); i++) {
      const from = 1 + Math.floor((i * (room - 1)) / Math.max(1, Math.min(starts, room) - 1));
      let state = map.initial();
      const end = Math.min(stream.length, from + longest);
      for (let t = from; t < end; t++) {
        const part = await map.step(state, stream[t]!);
        state = part.state;
        record(t - from + 1, index, t, seen[t]!, part.seen);
        // Equal states stay equal: the rest of this window has no error.
        if (isEqual(state, states[t + 1]!)) {
          for (let later = t + 1; later < end; later++) record(later - from + 1, index, later, seen[later]!, null);
          break;
        }
        if (t % 16 === 0) await yieldTo((index + (i + 1) / (starts + 1)) / streams.length);
      }
    }
    await yieldTo((index + 1) / streams.length);
  }
  return curves.map((curve) => curve.finished());
}

function isEqual(a: Float64Array, b: Float64Array): boolean {
  return a.every((v, i) => v === b[i]);
}
