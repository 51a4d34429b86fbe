import type { RecurrentLayer, RecurrentNetwork } from '../network/network.js';
import { stateSize } from '../network/cell.js';
import type { Signal, SourceSignal } from '../network/signal.js';
import { walkSignal } from '../network/signal.js';
import { boundCell, type CellBounds } from './cellBounds.js';
import { box, pointBox, type Box } from './interval.js';
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

export interface InputRange {
  readonly lower: number;
  readonly upper: number;
}

/** Range of the inputs and of unknown initial states where neither the user nor the graph says one. */
export const defaultInputRange: InputRange = { lower: -1, upper: 1 };

/** The states in which a direction can start. */
export function initialBox(layer: RecurrentLayer, direction: number, range: InputRange): Box {
  const { cell, initialState } = layer.directions[direction]!;
  return initialState === 'input' ? box(stateSize(cell), range.lower, range.upper) : pointBox(initialState);
}

/**
 * Reachable boxes and comparison operators of one layer.
 * @param below bounds of the layers before it
 * @param range of every source that has no range of its own
 */
export function boundLayer(layer: RecurrentLayer, below: readonly LayerBounds[], range: InputRange): LayerBounds {
  const source = (s: SourceSignal) => box(s.size, (s.range ?? range).lower, (s.range ?? range).upper);
  const boxOf = (s: Signal) => signalBox(s, source, (index) => below[index]!.output);
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

/** Sources that take the stated range: inputs of the graph, and tensors behind operators that are not understood. */
export function freeSources(network: RecurrentNetwork): SourceSignal[] {
  const free = new Map<string, SourceSignal>();
  for (const layer of network.layers) {
    walkSignal(layer.input, (s) => {
      if (s.kind === 'source' && s.range === null) free.set(s.name, s);
    });
  }
  return [...free.values()];
}
