import type { MeasuredCurve } from '../measurement/measuredCurve.js';
import type { State, StateMap } from './stateMap.js';
import type { Stream } from './streams.js';

/** Time that measuring one curve may take; more windows are compared where steps are fast. */
const budgetMilliseconds = 15_000;
const mostWindows = 16;

/**
 * Truncation error of a streaming model, measured by running it: the stream from its start against the stream whose state
 * was set back to the initial one k frames ago.
 * @param yieldTo called with the fraction done
 */
export async function measureTruncation(
  map: StateMap,
  streams: readonly Stream[],
  maxLength: number,
  yieldTo: (fraction: number) => Promise<void>,
): Promise<MeasuredCurve> {
  const shortest = Math.min(...streams.map((s) => s.length));
  const longest = Math.max(0, Math.min(maxLength, shortest - 1));
  const perSequence = Array.from({ length: longest + 1 }, () => new Float64Array(streams.length).fill(NaN));
  const windows = new Int32Array(longest + 1);
  const record = (k: number, sequence: number, error: number) => {
    const row = perSequence[k]!;
    row[sequence] = Number.isNaN(row[sequence]!) ? error : Math.max(row[sequence]!, error);
    windows[k] = windows[k]! + 1;
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
    // k = 0: no frame is seen at all, and the answer is that of silence.
    const silence = seen[0]!.map(() => 0);
    for (const value of seen) record(0, index, distance(value, silence));
    for (let i = 0; i < starts; i++) {
      // Windows of full length first: the far end of the curve needs them.
      const room = Math.max(1, stream.length - longest);
      const from = 1 + Math.floor((i * room) / starts);
      let state = map.initial();
      for (let t = from; t < Math.min(stream.length, from + longest); t++) {
        const part = await map.step(state, stream[t]!);
        state = part.state;
        record(t - from + 1, index, distance(seen[t]!, part.seen));
        // Equal states stay equal: the rest of this window has no error.
        if (isEqual(state, states[t + 1]!)) {
          for (let k = t - from + 2; k <= Math.min(longest, stream.length - from); k++) record(k, index, 0);
          break;
        }
        if (t % 16 === 0) await yieldTo((index + (i + 1) / (starts + 1)) / streams.length);
      }
    }
    await yieldTo((index + 1) / streams.length);
  }
  const worst = perSequence.map((row) => row.reduce((a, b) => (Number.isNaN(b) ? a : Math.max(a, b)), 0));
  return { k: perSequence.map((_, k) => k), worst, perSequence, sequences: streams.length, windows };
}

function isEqual(a: Float64Array, b: Float64Array): boolean {
  return a.every((v, i) => v === b[i]);
}

export function distance(a: Float64Array, b: Float64Array): number {
  let largest = 0;
  for (let i = 0; i < a.length; i++) largest = Math.max(largest, Math.abs(a[i]! - b[i]!));
  return Number.isNaN(largest) ? Infinity : largest;
}
