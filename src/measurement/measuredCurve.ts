import { multiplications, stateSize } from '../network/cell.js';
import { step } from '../network/forward.js';
import { outputLayers, type RecurrentNetwork } from '../network/network.js';
import { signalValue } from '../network/signalValues.js';
import { oneWindowSuffices, sparseLengths } from '../stability/errorCurve.js';
import type { SourceSequence } from './sequences.js';

/** Truncation error along given sequences, measured with the cell equations in float64. */
export interface MeasuredCurve {
  readonly k: number[];
  /** Worst error of the recurrent output over all windows compared, for every k. */
  readonly worst: number[];
  /** Worst error within each sequence, [k][sequence]; NaN where a sequence has no window at that k. */
  readonly perSequence: Float64Array[];
  readonly sequences: number;
  /** Windows compared, for every k. */
  readonly windows: Int32Array;
}

/** Outputs of all layers at the positions [from, to) of a sequence, [layer][direction][position − from] → h. */
type Outputs = Float64Array[][][];

/** Runs every layer over a window, each direction from its initial state at its end of the window. */
function runWindow(network: RecurrentNetwork, sequence: SourceSequence, from: number, to: number): Outputs {
  const outputs: Outputs = [];
  for (const layer of network.layers) {
    const inputs = Array.from({ length: to - from }, (_, p) =>
      signalValue(
        layer.input,
        (name) => sequence.get(name)![from + p]!,
        (below) => joined(outputs[below]!.map((direction) => direction[p]!)),
      ),
    );
    outputs.push(
      layer.directions.map(({ cell, reverse, initialState }) => {
        let state = initialState === 'input' ? new Float64Array(stateSize(cell)) : initialState;
        const hidden = new Array<Float64Array>(to - from);
        for (let s = 0; s < hidden.length; s++) {
          const p = reverse ? hidden.length - 1 - s : s;
          state = step(cell, inputs[p]!, state);
          hidden[p] = state.subarray(0, layer.hiddenSize);
        }
        return hidden;
      }),
    );
  }
  return outputs;
}

function joined(parts: readonly Float64Array[]): Float64Array {
  if (parts.length === 1) return parts[0]!;
  const out = new Float64Array(parts.reduce((n, p) => n + p.length, 0));
  let offset = 0;
  for (const part of parts) {
    out.set(part, offset);
    offset += part.length;
  }
  return out;
}

function distance(a: Float64Array, b: Float64Array): number {
  let largest = 0;
  for (let i = 0; i < a.length; i++) largest = Math.max(largest, Math.abs(a[i]! - b[i]!));
  // Infinity − Infinity: a state that overflowed is infinitely far from everything.
  return Number.isNaN(largest) ? Infinity : largest;
}

/** Multiplications that a measurement may cost: a second or two. A step costs some more for what is around its products. */
const budget = 2e9;
const overheadPerStep = 2000;

/**
 * @param maxLength largest k; sequences shorter than that give fewer
 * @yields the fraction done
 */
export function* measureCurve(
  network: RecurrentNetwork,
  sequences: readonly SourceSequence[],
  maxLength: number,
): Generator<number, MeasuredCurve> {
  const steps = Math.min(...sequences.map((s) => Math.min(...[...s.values()].map((v) => v.length))));
  const longest = Math.max(0, Math.min(maxLength, steps - 1));
  const dense = oneWindowSuffices(network);
  const k = dense ? Array.from({ length: longest + 1 }, (_, i) => i) : sparseLengths(longest);
  const slot = new Map(k.map((length, i) => [length, i]));
  const perSequence = k.map(() => new Float64Array(sequences.length).fill(NaN));
  const windows = new Int32Array(k.length);
  const outputs = outputLayers(network);
  const perStep = network.layers.reduce(
    (sum, layer) => sum + layer.directions.reduce((s, d) => s + multiplications(d.cell) + overheadPerStep, 0),
    0,
  );

  const record = (length: number, sequence: number, error: number) => {
    const i = slot.get(length);
    if (i === undefined) return;
    const row = perSequence[i]!;
    row[sequence] = Number.isNaN(row[sequence]!) ? error : Math.max(row[sequence]!, error);
    windows[i] = windows[i]! + 1;
  };
  /** Error of one direction of the output layers between a window starting at `from` and the full run, at position t. */
  const errorAt = (full: Outputs, part: Outputs, from: number, t: number, reverse: boolean | null) => {
    let error = 0;
    for (const layer of outputs) {
      network.layers[layer]!.directions.forEach((direction, d) => {
        if (reverse === null || direction.reverse === reverse)
          error = Math.max(error, distance(full[layer]![d]![t]!, part[layer]![d]![t - from]!));
      });
    }
    return error;
  };

  for (const [index, sequence] of sequences.entries()) {
    const full = runWindow(network, sequence, 0, steps);
    // k = 0: the truncated model answers with its initial state.
    for (const layer of outputs) {
      network.layers[layer]!.directions.forEach(({ cell, initialState }, d) => {
        const start = initialState === 'input' ? new Float64Array(stateSize(cell)) : initialState;
        for (const h of full[layer]![d]!) record(0, index, distance(h, start.subarray(0, h.length)));
      });
    }
    const share = budget / sequences.length / perStep;
    if (dense) {
      const hasForward = network.layers.some((l) => l.directions.some((d) => !d.reverse));
      const hasReverse = network.layers.some((l) => l.directions.some((d) => d.reverse));
      const starts = Math.max(1, Math.min(steps - 1, Math.floor(share / Math.max(1, longest))));
      const stride = (steps - 1) / starts;
      for (let i = 0; i < starts; i++) {
        const from = 1 + Math.floor(i * stride);
        // A window that starts at `from` has one step of context there, two at the next position, and so on.
        const to = Math.min(steps, from + longest);
        if (hasForward) {
          const part = runWindow(network, sequence, from, to);
          for (let t = from; t < to; t++) record(t - from + 1, index, errorAt(full, part, from, t, false));
        }
        if (hasReverse) {
          const end = steps - from;
          const begin = Math.max(0, end - longest);
          const part = runWindow(network, sequence, begin, end);
          for (let t = end - 1; t >= begin; t--) record(end - t, index, errorAt(full, part, begin, t, true));
        }
      }
    } else {
      const centres = Math.max(1, Math.min(steps, Math.floor(share / k.reduce((a, b) => a + 2 * b, 1))));
      for (const length of k.slice(1)) {
        for (let i = 0; i < centres; i++) {
          const t = Math.floor(((i + 0.5) * steps) / centres);
          const from = Math.max(0, t - length + 1);
          const to = Math.min(steps, t + length);
          if (from > 0 || to < steps) record(length, index, errorAt(full, runWindow(network, sequence, from, to), from, t, null));
        }
      }
    }
    yield (index + 1) / sequences.length;
  }
  // The far end of the curve can lack windows; it is cut off, not filled.
  const used = perSequence.findIndex((row) => row.every(Number.isNaN));
  const length = used < 0 ? k.length : used;
  const worst = perSequence.slice(0, length).map((row) => row.reduce((a, b) => (Number.isNaN(b) ? a : Math.max(a, b)), 0));
  return {
    k: k.slice(0, length),
    worst,
    perSequence: perSequence.slice(0, length),
    sequences: sequences.length,
    windows: windows.subarray(0, length),
  };
}
