import type { RecurrentNetwork } from '../network/network.js';
import { outputLayers } from '../network/network.js';
import { width } from './interval.js';
import type { LayerBounds } from './networkBounds.js';
import type { Deviation } from './signalBounds.js';

/**
 * Certified truncation error, with no asymptotics (e₀ is how far a reachable state can be from the state in which
 * the truncated model starts, then e ← min(T(e), diameter of the reachable box)). All layers are carried together: a
 * lower layer's error at the same step moves the upper layer's input.
 */
interface WindowErrors {
  /** Bound of |h − h^k| [layer][direction][position] → [H]. */
  readonly hidden: Float64Array[][][];
}

/** Distance of the reachable states from the truncated model's start, per direction. */
function startErrors(network: RecurrentNetwork, bounds: readonly LayerBounds[], layer: number, direction: number): Float64Array {
  const { state } = bounds[layer]!.directions[direction]!;
  const { initialState } = network.layers[layer]!.directions[direction]!;
  // The start is another caller-supplied state: any two points of the box.
  if (initialState === 'input') return width(state);
  return state.upper.map((v, j) => Math.max(v - initialState[j]!, initialState[j]! - state.lower[j]!, 0) * (1 + 2 ** -50));
}

/** Errors at every position of a window of `length` inputs; all layers start in their initial state at both of its ends. */
function* windowErrors(
  network: RecurrentNetwork,
  bounds: readonly LayerBounds[],
  length: number,
): Generator<number, WindowErrors> {
  const hidden: Float64Array[][][] = [];
  for (const [index, layer] of network.layers.entries()) {
    const { directions, inputDeviation } = bounds[index]!;
    hidden.push(layer.directions.map(() => new Array<Float64Array>(length)));
    for (const [d, direction] of layer.directions.entries()) {
      const diameter = width(directions[d]!.state);
      let error = startErrors(network, bounds, index, d);
      for (let step = 0; step < length; step++) {
        const position = direction.reverse ? length - 1 - step : step;
        const below = (lower: number) => Float64Array.from(hidden[lower]!.flatMap((h) => [...h[position]!]));
        const next = directions[d]!.compare(error, inputDeviation?.(below) ?? null);
        error = next.map((v, j) => Math.min(v, diameter[j]!));
        hidden[index]![d]![position] = error.slice(0, layer.hiddenSize);
        yield step / length;
      }
    }
  }
  return { hidden };
}

const largest = (values: Float64Array) => values.reduce((a, b) => Math.max(a, b), 0);

export interface ErrorCurve {
  readonly k: number[];
  /** Bound of the error, max absolute; null where some reachable box is infinite. */
  readonly bound: number[] | null;
}

/** True when the error after k steps does not depend on how the window is placed, so that one window gives all k. */
export function oneWindowSuffices(network: RecurrentNetwork): boolean {
  const reverse = network.layers.map((layer) => layer.directions.map((d) => d.reverse));
  return network.layers.length === 1 || reverse.every((d) => d.length === 1 && d[0] === reverse[0]![0]);
}

/** Lengths at which the curve is computed when every length needs a window of its own. */
export function sparseLengths(maxLength: number): number[] {
  const lengths = [0];
  for (let k = 1; k <= maxLength; k = Math.max(k + 1, Math.floor(k * 1.19))) lengths.push(k);
  if (lengths[lengths.length - 1] !== maxLength && maxLength > 0) lengths.push(maxLength);
  return lengths;
}

/** The error of the recurrent output: of h of the layers that nothing else reads. */
function recurrentDeviation(network: RecurrentNetwork): Deviation {
  const outputs = outputLayers(network);
  return (layer) => Float64Array.from(outputs, (index) => largest(layer(index)));
}

/**
 * @param maxLength largest k
 * @param deviation what the errors of all layers' outputs, each h of all directions, make where the error is asked for; the recurrent output by default
 * @yields the fraction done
 */
export function* errorCurve(
  network: RecurrentNetwork,
  bounds: readonly LayerBounds[],
  maxLength: number,
  deviation = recurrentDeviation(network),
): Generator<number, ErrorCurve> {
  const of = (hidden: (layer: number, direction: number) => Float64Array) =>
    largest(deviation((index) => Float64Array.from(network.layers[index]!.directions.flatMap((_, d) => [...hidden(index, d)]))));
  const k: number[] = [0];
  const bound: number[] = [
    of((index, d) => startErrors(network, bounds, index, d).subarray(0, network.layers[index]!.hiddenSize)),
  ];
  /** Error with k steps of context at `position` of a window, or at the far end for reverse directions. */
  const at = (errors: WindowErrors, position: (reverse: boolean) => number) =>
    of((index, d) => errors.hidden[index]![d]![position(network.layers[index]!.directions[d]!.reverse)]!);
  if (oneWindowSuffices(network)) {
    const errors = yield* windowErrors(network, bounds, maxLength);
    for (let length = 1; length <= maxLength; length++) {
      k.push(length);
      bound.push(at(errors, (reverse) => (reverse ? maxLength - length : length - 1)));
    }
  } else {
    for (const length of sparseLengths(maxLength).slice(1)) {
      const run = windowErrors(network, bounds, 2 * length - 1);
      let next = run.next();
      while (!next.done) next = run.next();
      k.push(length);
      bound.push(at(next.value, () => length - 1));
      yield length / maxLength;
    }
  }
  return { k, bound: bound.every(Number.isFinite) ? bound : null };
}

/**
 * Smallest k from which on all values are at most ε; null when the curve does not end there. A curve can rise again, so the
 * first value below ε is not enough for whoever takes a longer k than asked for.
 */
export function smallestLength(k: readonly number[], values: readonly number[], epsilon: number): number | null {
  let first = values.length;
  while (first > 0 && values[first - 1]! <= epsilon) first--;
  return first < values.length ? k[first]! : null;
}
