import type { Signal, SourceSignal } from '../network/signal.js';
import { perronNorm } from './certificates/comparison.js';
import { weightedMaxNorm } from './certificates/certificate.js';
import { box, contains, hull, intersection, isFinite, magnitude, pointBox, width, type Box } from './interval.js';
import { sourceBox, type InputRange } from './networkBounds.js';
import { signalBox, signalDeviation } from './signalBounds.js';

/**
 * Interval bounds of any state map s′ = F(s, x) that is known as signals: the reachable box, the comparison operator
 * T with |F(s, x) − F(s̃, x)| ≤ T(|s − s̃|) elementwise, and from them a contraction constant and a truncation error, as for a cell.
 */
export interface StateMapBounds {
  /** Box that no state leaves. */
  readonly state: Box;
  /** Contraction constant of one step in a weighted max-norm; Infinity where there is none. */
  readonly lambda: number;
  /** Entry k bounds the error of the outputs after truncation to k steps; null where the state cannot be followed to them. */
  readonly bound: readonly number[] | null;
}

const mostIterations = 200;
/** By how much of its size a box that has almost settled is widened, until it holds its own image. */
const widenings = [1e-9, 1e-6, 1e-3, 0.1, 1, 10];

/**
 * @param next signals of the next states; layer i is state i
 * @param outputs null: not known as signals
 * @param start the state in which every stream starts, all parts behind each other
 * @param range of the sources
 * @returns null where no finite box was found that the states cannot leave
 */
export function* boundStateMap(
  next: readonly Signal[],
  outputs: readonly Signal[] | null,
  start: Float64Array,
  range: InputRange,
  maxLength: number,
): Generator<number, StateMapBounds | null> {
  const sizes = next.map((s) => s.size);
  const parts = (whole: Float64Array) => {
    let offset = 0;
    return sizes.map((size) => whole.subarray(offset, (offset += size)));
  };
  const joined = (boxes: readonly Box[]): Box => ({
    lower: Float64Array.from(boxes.flatMap((b) => [...b.lower])),
    upper: Float64Array.from(boxes.flatMap((b) => [...b.upper])),
  });
  const source = (s: SourceSignal) => (s.range ? box(s.size, s.range.lower, s.range.upper) : sourceBox(range, s.name, s.size));
  const boxWith = (state: Box) => {
    const [lower, upper] = [parts(state.lower), parts(state.upper)];
    return (signal: Signal) => signalBox(signal, source, (index) => ({ lower: lower[index]!, upper: upper[index]! }));
  };
  const image = (state: Box) => joined(next.map(boxWith(state)));

  const state = yield* invariantBox(pointBox(start), image);
  if (!state) return null;
  const boxOf = boxWith(state);
  const deviations = next.map((signal) => signalDeviation(signal, boxOf));
  const compare = (error: Float64Array): Float64Array => {
    const each = parts(error);
    const layer = (index: number) => each[index]!;
    return Float64Array.from(deviations.flatMap((d, i) => [...(d ? d(layer) : new Float64Array(sizes[i]!))]));
  };
  const { lambda, weights } = perronNorm(compare, start.length);
  yield 0.5;
  const common = { state, lambda: Number.isFinite(lambda) ? lambda : Infinity };
  if (!outputs) return { ...common, bound: null };

  const results = outputs.map((signal) => ({ signal, deviation: signalDeviation(signal, boxOf), range: boxOf(signal) }));
  const largest = (values: Float64Array) => values.reduce((a, b) => Math.max(a, b), 0);
  // Without a frame there is no answer, which counts as zero.
  const bound = [Math.max(0, ...results.map((r) => largest(magnitude(r.range))))];
  const diameter = width(state);
  const metric = weightedMaxNorm(weights);
  let error = state.upper.map((v, j) => Math.max(v - start[j]!, start[j]! - state.lower[j]!) * (1 + 2 ** -50));
  let size = metric.sizeOf(error);
  for (let k = 1; k <= maxLength; k++) {
    const each = parts(error);
    const layer = (index: number) => each[index]!;
    const errors = results.map(({ deviation, range: own }) => {
      const apart = width(own);
      return deviation ? largest(deviation(layer).map((v, i) => Math.min(v, apart[i]!))) : 0;
    });
    bound.push(Math.max(0, ...errors));
    // The norm shrinks by λ whatever the elements do.
    size *= lambda * (1 + 2 ** -50);
    error = compare(error).map((v, i) => Math.min(v, diameter[i]!, lambda < 1 ? size * weights[i]! * (1 + 2 ** -50) : Infinity));
    yield 0.5 + k / (2 * maxLength);
  }
  return { ...common, bound: bound.every(Number.isFinite) ? bound : null };
}

/** A box that holds the start and its own image, found from inside and then made smaller again. */
function* invariantBox(start: Box, image: (state: Box) => Box): Generator<number, Box | null> {
  let inside = start;
  for (let i = 0; i < mostIterations; i++) {
    const grown = hull(inside, image(inside));
    if (!isFinite(grown)) return null;
    if (contains(inside, grown)) return inside;
    inside = grown;
    yield (0.3 * i) / mostIterations;
  }
  for (const share of widenings) {
    const room = magnitude(inside).map((v) => share * (v + Number.MIN_VALUE));
    const wide: Box = { lower: inside.lower.map((v, i) => v - room[i]!), upper: inside.upper.map((v, i) => v + room[i]!) };
    if (!contains(wide, image(wide))) continue;
    let state = wide;
    // The image of an invariant box, with the start, is invariant again.
    for (let i = 0; i < mostIterations; i++) {
      const smaller = intersection(state, hull(start, image(state)));
      if (contains(smaller, state)) break;
      state = smaller;
      yield 0.3 + (0.2 * i) / mostIterations;
    }
    return state;
  }
  return null;
}
