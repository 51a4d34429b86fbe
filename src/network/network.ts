import type { Cell } from './cell.js';
import { gatesOf } from './cell.js';
import type { Signal } from './signal.js';
import { walkSignal } from './signal.js';

/** The recurrent part of a checkpoint as plain data: what the mathematics works on. */

export interface LayerDirection {
  readonly cell: Cell;
  /** True when it reads the sequence from its end. */
  readonly reverse: boolean;
  /** State before the first step: a constant, or `input` when the caller of the model supplies it. */
  readonly initialState: Float64Array | 'input';
}

export interface RecurrentLayer {
  readonly name: string;
  readonly kind: Cell['kind'];
  readonly inputSize: number;
  readonly hiddenSize: number;
  /** One direction, or forward and reverse of a bidirectional layer. */
  readonly directions: readonly LayerDirection[];
  /** What the layer reads at each time step. */
  readonly input: Signal;
}

export interface RecurrentNetwork {
  /** In the order of computation: a layer reads only layers before it. */
  readonly layers: readonly RecurrentLayer[];
}

export function directionName(layer: RecurrentLayer): 'forward' | 'reverse' | 'bidirectional' {
  if (layer.directions.length === 2) return 'bidirectional';
  return layer.directions[0]!.reverse ? 'reverse' : 'forward';
}

function layersBelow(layer: RecurrentLayer): number[] {
  const below = new Set<number>();
  walkSignal(layer.input, (s) => {
    if (s.kind === 'layer') below.add(s.layer);
  });
  return [...below];
}

/** The layers that no other layer reads: their h is the network's recurrent output. */
export function outputLayers(network: RecurrentNetwork): number[] {
  const read = new Set(network.layers.flatMap(layersBelow));
  return network.layers.map((_, index) => index).filter((index) => !read.has(index));
}

export function parameterCount(network: RecurrentNetwork): number {
  let count = 0;
  for (const layer of network.layers) {
    for (const { cell } of layer.directions) {
      for (const gate of gatesOf(cell)) count += gate.input.data.length + gate.recurrent.data.length + gate.bias.length;
      if (cell.kind === 'lstm' && cell.peephole) count += 3 * cell.hiddenSize;
      if (cell.kind === 'gru' && cell.linearBeforeReset) count += cell.hiddenSize;
    }
  }
  return count;
}
