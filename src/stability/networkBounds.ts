import { BadInputError } from '../errors.js';
import type { RecurrentLayer, RecurrentNetwork } from '../network/network.js';
import { stateSize } from '../network/cell.js';
import type { Signal, SourceSignal } from '../network/signal.js';
import { walkSignal } from '../network/signal.js';
import { boundCell, type CellBounds } from './cellBounds.js';
import { box, isFinite, magnitude, pointBox, width, type Box } from './interval.js';
import { signalBox, signalDeviation, type Deviation } from './signalBounds.js';

export interface LayerBounds {
  readonly input: Box;
  /** How errors of the layers below move the input; null where nothing recurrent is below. */
  readonly inputDeviation: Deviation | null;
  /** Entry i belongs to direction i of the layer. */
  readonly directions: readonly CellBounds[];
  /** Box of the layer's output: h of all directions. */
  readonly output: Box;
}

/** One range for all features, or one for each. */
export interface FeatureRange {
  readonly lower: number | readonly number[];
  readonly upper: number | readonly number[];
}

export interface InputRange extends FeatureRange {
  /** Ranges of single sources, by name; the range above is for the others. */
  readonly sources?: Readonly<Record<string, FeatureRange>>;
}

/** Range of the inputs and of unknown initial states where neither the user nor the graph says one. */
export const defaultInputRange: InputRange = { lower: -1, upper: 1 };

/** The interval that holds the ranges of all features of all sources. */
export function rangeHull({ lower, upper, sources }: InputRange): { lower: number; upper: number } {
  const all = [{ lower, upper }, ...Object.values(sources ?? {})];
  return { lower: Math.min(...all.flatMap((r) => r.lower)), upper: Math.max(...all.flatMap((r) => r.upper)) };
}

/**
 * The range of a source.
 * @throws BadInputError bad-input-range where the list of features has another length
 */
export function sourceBox(range: InputRange, name: string, size: number): Box {
  const { lower, upper } = range.sources?.[name] ?? range;
  const side = (bound: number | readonly number[]) => {
    if (typeof bound === 'number') return new Float64Array(size).fill(bound);
    if (bound.length !== size) {
      throw new BadInputError(
        'bad-input-range',
        `the input range lists ${bound.length} features, "${name}" has ${size}; give one range for all, or one per feature`,
      );
    }
    return Float64Array.from(bound);
  };
  return { lower: side(lower), upper: side(upper) };
}

/** The states in which a direction can start. Where the caller supplies one, zero is among them: measurements and exports start there. */
export function initialBox(layer: RecurrentLayer, direction: number, range: InputRange): Box {
  const { cell, initialState } = layer.directions[direction]!;
  const { lower, upper } = rangeHull(range);
  return initialState === 'input' ? box(stateSize(cell), Math.min(0, lower), Math.max(0, upper)) : pointBox(initialState);
}

/**
 * Reachable boxes and comparison operators of one layer.
 * @param below bounds of the layers before it
 * @param range of every source that has no range of its own
 */
export function boundLayer(layer: RecurrentLayer, below: readonly LayerBounds[], range: InputRange): LayerBounds {
  const boxOf = boxesOf(below, range);
  const input = boxOf(layer.input);
  const directions = layer.directions.map(({ cell }, d) => boundCell(cell, input, initialBox(layer, d, range)));
  return { input, inputDeviation: signalDeviation(layer.input, boxOf), directions, output: outputBox(layer, directions) };
}

/** Box of h of all directions. */
export function outputBox(layer: RecurrentLayer, directions: readonly CellBounds[]): Box {
  return {
    lower: Float64Array.from(directions.flatMap((d) => [...d.state.lower.subarray(0, layer.hiddenSize)])),
    upper: Float64Array.from(directions.flatMap((d) => [...d.state.upper.subarray(0, layer.hiddenSize)])),
  };
}

/** Bounds of all layers, in order. */
export function boundNetwork(network: RecurrentNetwork, range: InputRange): LayerBounds[] {
  return network.layers.reduce<LayerBounds[]>((below, layer) => [...below, boundLayer(layer, below, range)], []);
}

/**
 * How far signals over the layers' outputs, the model's own outputs, can move when those do.
 * @param range of every source that has no range of its own
 */
export function outputDeviation(signals: readonly Signal[], layers: readonly LayerBounds[], range: InputRange): Deviation {
  const boxOf = boxesOf(layers, range);
  const parts = signals.map((signal) => {
    const diameter = width(boxOf(signal));
    const deviation = signalDeviation(signal, boxOf);
    return (layer: (index: number) => Float64Array) =>
      deviation ? deviation(layer).map((v, i) => Math.min(v, diameter[i]!)) : new Float64Array(signal.size);
  });
  return (layer) => Float64Array.from(parts.flatMap((part) => [...part(layer)]));
}

/** Largest absolute value that a signal over the layers' outputs can take. */
export function largestValue(signal: Signal, layers: readonly LayerBounds[], range: InputRange): number {
  return magnitude(boxesOf(layers, range)(signal)).reduce((a, b) => Math.max(a, b), 0);
}

/** Box of any signal over sources and the layers bounded so far. */
function boxesOf(layers: readonly LayerBounds[], range: InputRange): (signal: Signal) => Box {
  const source = (s: SourceSignal) => (s.range ? box(s.size, s.range.lower, s.range.upper) : sourceBox(range, s.name, s.size));
  return (signal) => signalBox(signal, source, (index) => layers[index]!.output);
}

/** Sources that take the stated range: inputs of the graph, and tensors behind operators that are not understood. */
export function freeSources(network: RecurrentNetwork): SourceSignal[] {
  const free = new Map<string, SourceSignal>();
  const visit = (s: Signal): void => {
    if (s.kind !== 'source') return;
    if (s.within) walkSignal(s.within, visit);
    else if (s.range === null) free.set(s.name, s);
  };
  for (const layer of network.layers) walkSignal(layer.input, visit);
  return [...free.values()];
}

/** A range without ends: for networks whose graph bounds what every layer reads (tanh, softmax, an embedding) whatever comes in. */
export const anyInput: InputRange = { lower: -Infinity, upper: Infinity };

/** True where some layer's input, or its initial state, is only bounded if the inputs are. */
export function needsInputRange(network: RecurrentNetwork): boolean {
  const source = (s: SourceSignal) => (s.range ? box(s.size, s.range.lower, s.range.upper) : sourceBox(anyInput, s.name, s.size));
  const below = (index: number) => {
    const { directions, hiddenSize } = network.layers[index]!;
    return box(directions.length * hiddenSize, -1, 1);
  };
  return network.layers.some(
    (layer) => layer.directions.some((d) => d.initialState === 'input') || !isFinite(signalBox(layer.input, source, below)),
  );
}
