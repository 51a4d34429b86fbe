import type { RecurrentNetwork } from '../network/network.js';
import { outputLayers } from '../network/network.js';
import type { CellBounds } from './cellBounds.js';
import type { Contraction } from './certificates/certificate.js';
import { departure, farthest } from './inputEffect.js';
import { pointBox, width } from './interval.js';
import type { LayerBounds } from './networkBounds.js';
import { up } from './rounding.js';
import type { Deviation } from './signalBounds.js';

/**
 * Certified truncation error, with no asymptotics. e₀ is how far a reachable state can be from the state in which the truncated
 * model starts, then e ← min(T(e), diameter of the reachable box). Every contraction that was proven carries a number q ≥ ‖error‖ in its own norm
 * along, q ← λq, and all of them tighten each other at every step: |error_j| ≤ reach_j q, q ≤ size of e. All layers are carried
 * together: a lower layer's error at the same step moves the upper layer's input.
 */
interface WindowErrors {
  /** Bound of |h − h^k| [layer][direction][position] → [H]. */
  readonly hidden: Float64Array[][][];
}

/** Contractions that were proven, per layer and direction. */
export type Contractions = readonly (readonly (readonly Contraction[])[])[];

/** What is known of the error of one direction at one step. */
class ErrorState {
  private readonly diameter: Float64Array;
  private sizes: number[];
  /** What each contraction says about the gates' pre-activations, per unit of its norm. */
  private readonly norms: Float64Array[][];

  /** @param start the state in which the truncated model starts; `input` where the caller supplies any of the box */
  constructor(
    private readonly bounds: CellBounds,
    private readonly contractions: readonly Contraction[],
    start: Float64Array | 'input',
  ) {
    const { state } = bounds;
    this.diameter = width(state);
    this.norms = contractions.map(({ metric }) => bounds.recurrentNorms(metric));
    this.error =
      start === 'input'
        ? this.diameter.slice()
        : state.upper.map((v, j) => Math.max(v - start[j]!, start[j]! - state.lower[j]!, 0) * (1 + 2 ** -50));
    this.sizes = contractions.map(() => Infinity);
    if (start !== 'input') {
      // For any state a, a trajectory from s₀ stays within max(‖s₀ − a‖, Σ λⁱ sup‖Φ(a, x) − a‖) of a.
      const anchors = [start, ...(bounds.within ? [bounds.within.centre] : [])];
      this.sizes = contractions.map(({ lambda, metric }) =>
        Math.min(
          ...anchors.map((anchor) => {
            const away = metric.sizeOf(farthest(pointBox(start), anchor));
            const drift = up(departure(bounds, metric, anchor) / (1 - lambda)) * (1 + 2 ** -50);
            return up(away + Math.max(away, drift));
          }),
        ),
      );
    }
    this.tighten();
  }

  /** Bound of each element. */
  error: Float64Array;

  private tighten(): void {
    const { error } = this;
    for (const [i, { metric }] of this.contractions.entries()) {
      const size = Math.min(this.sizes[i]!, metric.sizeOf(error));
      this.sizes[i] = size;
      for (let j = 0; j < error.length; j++) error[j] = Math.min(error[j]!, up(size * metric.reach[j]!));
    }
  }

  /** The least change of each gate's pre-activations that any contraction leaves possible. */
  private limits(): Float64Array[] | undefined {
    return this.norms.reduce<Float64Array[] | undefined>((least, norms, i) => {
      const scaled = norms.map((gate) => gate.map((v) => up(v * this.sizes[i]!)));
      return least ? least.map((gate, g) => gate.map((v, j) => Math.min(v, scaled[g]![j]!))) : scaled;
    }, undefined);
  }

  /** One step under inputs that differ by at most `input`; null for equal inputs. */
  step(input: Float64Array | null): void {
    const next = this.bounds.compare(this.error, input, this.limits());
    // Both inputs at the same state first, then both states at the same input.
    const moved = input && this.contractions.length > 0 ? this.bounds.compare(new Float64Array(next.length), input) : null;
    this.sizes = this.contractions.map(({ lambda, metric }, i) =>
      up(lambda * this.sizes[i]! + (moved ? metric.sizeOf(moved) : 0)),
    );
    this.error = next.map((v, j) => Math.min(v, this.diameter[j]!));
    this.tighten();
  }
}

/** The smallest k at which the comparison operator and the contractions given bring a layer's own output within ε under equal inputs; null beyond `maxLength`. */
export function* lengthOf(
  bounds: CellBounds,
  contractions: readonly Contraction[],
  start: Float64Array | 'input',
  hiddenSize: number,
  { epsilon, maxLength }: { epsilon: number; maxLength: number },
): Generator<number, number | null> {
  const state = new ErrorState(bounds, contractions, start);
  for (let k = 0; k <= maxLength; k++) {
    if (largest(state.error.subarray(0, hiddenSize)) <= epsilon) return k;
    state.step(null);
    yield k / maxLength;
  }
  return null;
}

/** Errors at every position of a window of `length` inputs; all layers start in their initial state at both of its ends. */
function* windowErrors(
  network: RecurrentNetwork,
  bounds: readonly LayerBounds[],
  contractions: Contractions,
  length: number,
): Generator<number, WindowErrors> {
  const hidden: Float64Array[][][] = [];
  for (const [index, layer] of network.layers.entries()) {
    const { directions, inputDeviation } = bounds[index]!;
    hidden.push(layer.directions.map(() => new Array<Float64Array>(length)));
    for (const [d, direction] of layer.directions.entries()) {
      const state = new ErrorState(directions[d]!, contractions[index]?.[d] ?? [], direction.initialState);
      for (let step = 0; step < length; step++) {
        const position = direction.reverse ? length - 1 - step : step;
        const below = (lower: number) => Float64Array.from(hidden[lower]!.flatMap((h) => [...h[position]!]));
        state.step(inputDeviation?.(below) ?? null);
        hidden[index]![d]![position] = state.error.slice(0, layer.hiddenSize);
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

/**
 * True when the error after k steps does not depend on how the window is placed, so that one window gives all k.
 * @param atOutput the model's own outputs read both directions at one position, which only a window around it gives
 */
export function oneWindowSuffices(network: RecurrentNetwork, atOutput: boolean): boolean {
  const reverse = network.layers.map((layer) => layer.directions.map((d) => d.reverse));
  if (atOutput && reverse.some((d) => d.length > 1)) return false;
  return network.layers.length === 1 || reverse.every((d) => d.length === 1 && d[0] === reverse[0]![0]);
}

/** Lengths at which the curve is computed: all of them, or some where every length needs a window of its own. */
export function curveLengths(network: RecurrentNetwork, atOutput: boolean, maxLength: number): number[] {
  if (oneWindowSuffices(network, atOutput)) return Array.from({ length: maxLength + 1 }, (_, k) => k);
  return sparseLengths(maxLength);
}

function sparseLengths(maxLength: number): number[] {
  const lengths = [0];
  for (let k = 1; k <= maxLength; k = Math.max(k + 1, Math.floor(k * 1.19))) lengths.push(k);
  if (lengths[lengths.length - 1] !== maxLength && maxLength > 0) lengths.push(maxLength);
  return lengths;
}

/** The same curve at fewer lengths. */
export function atLengths({ k, bound }: ErrorCurve, lengths: readonly number[]): ErrorCurve {
  const kept = new Set(lengths);
  return { k: k.filter((length) => kept.has(length)), bound: bound && bound.filter((_, i) => kept.has(k[i]!)) };
}

/** The error of the recurrent output: of h of the layers that nothing else reads. */
function recurrentDeviation(network: RecurrentNetwork): Deviation {
  const outputs = outputLayers(network);
  return (layer) => Float64Array.from(outputs, (index) => largest(layer(index)));
}

/**
 * @param contractions proven for the same bounds; the more, the tighter
 * @param maxLength largest k
 * @param deviation what the errors of all layers' outputs, each h of all directions, make where the error is asked for; the recurrent output by default
 * @yields the fraction done
 */
export function* errorCurve(
  network: RecurrentNetwork,
  bounds: readonly LayerBounds[],
  contractions: Contractions,
  maxLength: number,
  deviation?: Deviation,
): Generator<number, ErrorCurve> {
  const error = deviation ?? recurrentDeviation(network);
  const of = (hidden: (layer: number, direction: number) => Float64Array) =>
    largest(error((index) => Float64Array.from(network.layers[index]!.directions.flatMap((_, d) => [...hidden(index, d)]))));
  const k: number[] = [0];
  const bound: number[] = [
    of((index, d) => {
      const { hiddenSize, directions } = network.layers[index]!;
      const start = new ErrorState(bounds[index]!.directions[d]!, contractions[index]?.[d] ?? [], directions[d]!.initialState);
      return start.error.subarray(0, hiddenSize);
    }),
  ];
  /** Error with k steps of context at `position` of a window, or at the far end for reverse directions. */
  const at = (errors: WindowErrors, position: (reverse: boolean) => number) =>
    of((index, d) => errors.hidden[index]![d]![position(network.layers[index]!.directions[d]!.reverse)]!);
  if (oneWindowSuffices(network, deviation !== undefined)) {
    const errors = yield* windowErrors(network, bounds, contractions, maxLength);
    for (let length = 1; length <= maxLength; length++) {
      k.push(length);
      bound.push(at(errors, (reverse) => (reverse ? maxLength - length : length - 1)));
    }
  } else {
    for (const length of curveLengths(network, deviation !== undefined, maxLength).slice(1)) {
      const run = windowErrors(network, bounds, contractions, 2 * length - 1);
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
