import { stateSize } from '../network/cell.js';
import { step } from '../network/forward.js';
import { linearize, type Linearization } from '../network/linearization.js';
import type { RecurrentNetwork } from '../network/network.js';
import { signalPullback, type SignalCotangents } from '../network/signalPullback.js';
import { signalValue } from '../network/signalValues.js';
import { startState } from './cellRunner.js';
import type { SourceSequence } from './sequences.js';
import { outputWidth } from './windowRuns.js';

/** A window run with the cell equations, with what back-propagation through time needs. */
export interface BackwardRun {
  /** h of all directions of a layer at a position of the sequence. */
  hidden(layer: number, position: number): Float64Array;
  /**
   * Back-propagates to the inputs.
   * @param seeds cotangents of h by layer, all at one position
   * @param into takes the cotangents of the sources at every position
   */
  backward(position: number, seeds: ReadonlyMap<number, Float64Array>, into: InputCotangents): void;
}

export interface InputCotangents {
  source(position: number, name: string, cotangent: Float64Array): void;
  table(position: number, signal: Parameters<SignalCotangents['table']>[0], cotangent: Float64Array): void;
}

/** Runs the steps [from, to) of a sequence from the initial state. */
export function backwardRun(network: RecurrentNetwork, source: SourceSequence, from: number, to: number): BackwardRun {
  const steps = to - from;
  const read = (position: number) => (name: string) => source.get(name)![from + position]!;
  const rows: Float64Array[][] = [];
  const slopes: Linearization[][][] = [];
  for (const layer of network.layers) {
    const inputs = Array.from({ length: steps }, (_, p) => signalValue(layer.input, read(p), (below) => rows[below]![p]!));
    const hidden = inputs.map(() => new Float64Array(outputWidth(layer)));
    slopes.push(
      layer.directions.map((direction, d) => {
        const { cell, reverse } = direction;
        let state = startState(direction);
        const byStep = inputs.map((_, s): Linearization => {
          const p = reverse ? steps - 1 - s : s;
          const linearization = linearize(cell, inputs[p]!, state);
          state = step(cell, inputs[p]!, state);
          hidden[p]!.set(state.subarray(0, layer.hiddenSize), d * layer.hiddenSize);
          return linearization;
        });
        return byStep;
      }),
    );
    rows.push(hidden);
  }
  return {
    hidden: (layer, position) => rows[layer]![position - from]!,
    backward(position, seeds, into) {
      const cotangents = network.layers.map((layer) => rows[0]!.map(() => new Float64Array(outputWidth(layer))));
      for (const [layer, seed] of seeds) add(cotangents[layer]![position - from]!, seed);
      for (let index = network.layers.length - 1; index >= 0; index--) {
        const layer = network.layers[index]!;
        const inputs = rows[0]!.map(() => new Float64Array(layer.inputSize));
        for (const [d, { cell, reverse }] of layer.directions.entries()) {
          let state: Float64Array = new Float64Array(stateSize(cell));
          for (let s = steps - 1; s >= 0; s--) {
            const p = reverse ? steps - 1 - s : s;
            add(state, cotangents[index]![p]!.subarray(d * layer.hiddenSize, (d + 1) * layer.hiddenSize));
            state = slopes[index]![d]![s]!.pullback(state, inputs[p]!);
          }
        }
        inputs.forEach((cotangent, p) =>
          signalPullback(layer.input, cotangent, read(p), (below) => rows[below]![p]!, {
            source: (name, c) => into.source(from + p, name, c),
            table: (signal, c) => into.table(from + p, signal, c),
            layer: (below, c) => add(cotangents[below]![p]!, c),
          }),
        );
      }
    },
  };
}

/** Adds `values` to the first numbers of `into`. */
function add(into: Float64Array, values: Float64Array): void {
  for (let i = 0; i < values.length; i++) into[i] = into[i]! + values[i]!;
}
