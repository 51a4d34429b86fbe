import { stateSize } from '../network/cell.js';
import { step } from '../network/forward.js';
import type { LayerDirection, RecurrentNetwork } from '../network/network.js';
import { signalValue } from '../network/signalValues.js';
import { longestOf, outputWidth, type Window, type WindowRunner, type WindowRuns } from './windowRuns.js';

/** Windows run with the cell equations in float64, one after the other. */
export function cellRunner(network: RecurrentNetwork): WindowRunner {
  return {
    largestBatch: 2 ** 20,
    run: (windows) => Promise.resolve(runWindows(network, windows)),
    release: () => Promise.resolve(),
  };
}

/** The state in which a direction starts; one that the caller supplies is taken as zero. */
export function startState({ cell, initialState }: LayerDirection): Float64Array {
  return initialState === 'input' ? new Float64Array(stateSize(cell)) : initialState;
}

function runWindows(network: RecurrentNetwork, windows: readonly Window[]): WindowRuns {
  const steps = longestOf(windows);
  const widths = network.layers.map(outputWidth);
  const hidden = widths.map((width) => new Float64Array(windows.length * steps * width));
  for (const [w, { source, from, to }] of windows.entries()) {
    const at = (layer: number, position: number) => {
      const offset = (w * steps + position) * widths[layer]!;
      return hidden[layer]!.subarray(offset, offset + widths[layer]!);
    };
    for (const [index, layer] of network.layers.entries()) {
      const inputs = Array.from({ length: to - from }, (_, p) =>
        signalValue(
          layer.input,
          (name) => source.get(name)![from + p]!,
          (below) => at(below, p),
        ),
      );
      for (const [d, direction] of layer.directions.entries()) {
        let state = startState(direction);
        for (let s = 0; s < inputs.length; s++) {
          const p = direction.reverse ? inputs.length - 1 - s : s;
          state = step(direction.cell, inputs[p]!, state);
          at(index, p).set(state.subarray(0, layer.hiddenSize), d * layer.hiddenSize);
        }
      }
    }
  }
  return { steps, hidden };
}
