import { heldAt, multiplications, stateSize, type Cell } from './cell.js';
import { step } from './forward.js';
import type { RecurrentLayer, RecurrentNetwork } from './network.js';
import { walkSignal, type Signal } from './signal.js';
import { signalValue } from './signalValues.js';

/**
 * Directions that all run the same way and read nothing but one another and sources: one dynamical system s′ = Φ(s, x). A
 * reverse direction is the same thing in reversed time. What stands above a bidirectional layer reads the whole sequence
 * at every step and belongs to no such system.
 */
export interface CausalSystem {
  readonly reverse: boolean;
  /** In the order of computation. */
  readonly components: readonly Component[];
  /** The components that no other reads: their h is the recurrent output. */
  readonly outputs: readonly Component[];
  readonly sources: readonly SystemSource[];
  readonly stateSize: number;
  /** Length of an input: one number for every feature of every source, one in all for a source of tokens. */
  readonly inputSize: number;
}

export interface Component {
  /** Indexes into the network. */
  readonly layer: number;
  readonly direction: number;
  readonly cell: Cell;
  /** What the cell reads; its `layer` signals name layers of the network. */
  readonly signal: Signal;
  /** Its state before the first step; zero where the caller supplies it. */
  readonly start: Float64Array;
  /** Where its state begins in the state of the system. */
  readonly offset: number;
}

export interface SystemSource {
  readonly name: string;
  readonly size: number;
  /** Where its values begin in an input of the system. */
  readonly offset: number;
  /** Rows of the embedding table that tokens choose from; null for a source of features. */
  readonly tokens: number | null;
}

function sourcesOf(signals: readonly Signal[]): SystemSource[] {
  const found = new Map<string, SystemSource>();
  let offset = 0;
  const add = (name: string, size: number, tokens: number | null) => {
    if (found.has(name)) return;
    found.set(name, { name, size, offset, tokens });
    offset += size;
  };
  for (const signal of signals) {
    walkSignal(signal, (s) => {
      if (s.kind === 'source') add(s.name, s.size, null);
      if (s.kind === 'table') add(s.source, 1, s.rows.rows);
    });
  }
  return [...found.values()];
}

function systemOf(reverse: boolean, parts: readonly Omit<Component, 'offset'>[]): CausalSystem {
  let offset = 0;
  const components = parts.map((part): Component => {
    const component = { ...part, offset };
    offset += stateSize(part.cell);
    return component;
  });
  const sources = sourcesOf(components.map((c) => c.signal));
  const inputSize = sources.reduce((sum, s) => sum + s.size, 0);
  return { reverse, components, outputs: unread(components), sources, stateSize: offset, inputSize };
}

function componentOf(
  layers: readonly RecurrentLayer[],
  layer: number,
  direction: number,
  signal: Signal,
): Omit<Component, 'offset'> {
  const { cell, initialState } = layers[layer]!.directions[direction]!;
  const start = initialState === 'input' ? new Float64Array(stateSize(cell)) : initialState;
  return { layer, direction, cell, signal, start };
}

/** The directions of one sense that only the inputs of the graph drive; null where there are none. */
export function causalSystem(
  { layers }: RecurrentNetwork,
  reverse: boolean,
  included: (layer: number) => boolean,
): CausalSystem | null {
  const within = new Set<number>();
  const parts: Omit<Component, 'offset'>[] = [];
  for (const [index, layer] of layers.entries()) {
    let understood = included(index);
    walkSignal(layer.input, (s) => {
      if (s.kind === 'source') understood &&= s.operator === null;
      // A layer below belongs to the system only as a whole.
      if (s.kind === 'layer') understood &&= within.has(s.layer);
    });
    if (!understood) continue;
    for (const [d, direction] of layer.directions.entries()) {
      if (direction.reverse === reverse) parts.push(componentOf(layers, index, d, layer.input));
    }
    if (layer.directions.every((d) => d.reverse === reverse)) within.add(index);
  }
  return parts.length > 0 ? systemOf(reverse, parts) : null;
}

/** One direction of a layer by itself; its input becomes a source with the layer's name. */
export function singleSystem({ layers }: RecurrentNetwork, layer: number, direction: number): CausalSystem {
  const { name, inputSize, directions } = layers[layer]!;
  const signal: Signal = { kind: 'source', size: inputSize, name, operator: null, range: null, recurrent: false };
  return systemOf(directions[direction]!.reverse, [componentOf(layers, layer, direction, signal)]);
}

export function startOf(system: CausalSystem): Float64Array {
  const state = new Float64Array(system.stateSize);
  for (const { start, offset } of system.components) state.set(start, offset);
  return state;
}

export function stateOf({ offset, cell }: Component, state: Float64Array): Float64Array {
  return state.subarray(offset, offset + stateSize(cell));
}

export function outputOf({ offset, cell }: Component, state: Float64Array): Float64Array {
  return state.subarray(offset, offset + cell.hiddenSize);
}

/**
 * What a component reads.
 * @param next state of the system after the step, as far as the components before this one
 */
export function componentInput(
  system: CausalSystem,
  component: Component,
  input: Float64Array,
  next: Float64Array,
): Float64Array {
  return signalValue(
    component.signal,
    (name) => {
      const { offset, size } = system.sources.find((s) => s.name === name)!;
      return input.subarray(offset, offset + size);
    },
    // A layer that is read has one direction here, or it would not belong to the system.
    (layer) =>
      outputOf(
        system.components.find((c) => c.layer === layer)!,
        next,
      ),
  );
}

/** The system under a periodic input, with what does not depend on its state computed once. */
export class DrivenSystem {
  /** Multiplications of a step, with what it costs beside them. */
  readonly cost: number;
  /** One for each input of the period; the components that read a layer stay as they are. */
  readonly #cells: readonly (readonly Cell[])[];

  constructor(
    private readonly system: CausalSystem,
    private readonly inputs: readonly Float64Array[],
  ) {
    const nothing = new Float64Array(system.stateSize);
    this.#cells = inputs.map((input) =>
      system.components.map((c) => (readsLayer(c) ? c.cell : heldAt(c.cell, componentInput(system, c, input, nothing)))),
    );
    this.cost = stepCost(this.#cells[0]!);
  }

  /** @param t steps since the period began */
  step(t: number, state: Float64Array): Float64Array {
    const phase = t % this.inputs.length;
    const next = new Float64Array(this.system.stateSize);
    this.system.components.forEach((component, i) => {
      const cell = this.#cells[phase]![i]!;
      const x = cell === component.cell ? componentInput(this.system, component, this.inputs[phase]!, next) : noInput;
      next.set(step(cell, x, stateOf(component, state)), component.offset);
    });
    return next;
  }
}

const noInput = new Float64Array(0);

function readsLayer({ signal }: Component): boolean {
  let found = false;
  walkSignal(signal, (s) => (found ||= s.kind === 'layer'));
  return found;
}

function unread(components: readonly Component[]): Component[] {
  const read = new Set<number>();
  for (const { signal } of components) {
    walkSignal(signal, (s) => {
      if (s.kind === 'layer') read.add(s.layer);
    });
  }
  return components.filter((c) => !read.has(c.layer));
}

/** max |a − b|. */
export function distance(a: Float64Array, b: Float64Array): number {
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const d = Math.abs(a[i]! - b[i]!);
    // NaN compares false everywhere; a state that overflowed is infinitely far from everything.
    if (!(d <= largest)) largest = Number.isNaN(d) ? Infinity : d;
  }
  return largest;
}

/** max |Δh| of the recurrent output. */
export function outputDistance({ outputs }: CausalSystem, a: Float64Array, b: Float64Array): number {
  return Math.max(...outputs.map((c) => distance(outputOf(c, a), outputOf(c, b))));
}

function stepCost(cells: readonly Cell[]): number {
  return cells.reduce((sum, cell) => sum + multiplications(cell) + 100 * cell.hiddenSize + 5000, 0);
}
