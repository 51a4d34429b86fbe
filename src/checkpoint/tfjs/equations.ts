import type { Activation } from '../../network/activation.js';

/**
 * A recurrent cell as Keras stores and defines it. ONNX's layout of the weights is not used here, so that running these
 * equations tests the conversion to it.
 */
export interface KerasCell {
  readonly kind: 'simple' | 'lstm' | 'gru';
  readonly units: number;
  readonly inputSize: number;
  /** [inputSize, gates · units]; the gates are i f c o of an LSTM, z r h of a GRU. */
  readonly kernel: Float64Array;
  /** [units, gates · units] */
  readonly recurrentKernel: Float64Array;
  /** [gates · units], or two such rows for a GRU that resets after the product; null: no bias. */
  readonly bias: Float64Array | null;
  readonly activation: Activation;
  /** Of the gates; null for a simple cell. */
  readonly recurrentActivation: Activation | null;
  readonly resetAfter: boolean;
}

/** Row vector times columns [from, from + units) of a row-major matrix of `width` columns. */
function times(x: ArrayLike<number>, matrix: Float64Array, width: number, from: number, units: number): Float64Array {
  const out = new Float64Array(units);
  for (let i = 0; i < x.length; i++) {
    const value = x[i]!;
    for (let j = 0; j < units; j++) out[j] = out[j]! + value * matrix[i * width + from + j]!;
  }
  return out;
}

/** @param state h, then c for an LSTM */
export function step(cell: KerasCell, x: ArrayLike<number>, state: Float64Array): Float64Array {
  const { units } = cell;
  const h = state.subarray(0, units);
  const gates = { simple: 1, lstm: 4, gru: 3 }[cell.kind];
  const width = gates * units;
  const f = (value: number) => cell.activation.value(value);
  const s = (value: number) => cell.recurrentActivation!.value(value);
  const bias =
    (gate: number, row = 0) =>
    (j: number) =>
      cell.bias ? (cell.bias[row * width + gate * units + j] ?? 0) : 0;
  const fromInput = (gate: number) => times(x, cell.kernel, width, gate * units, units).map((v, j) => v + bias(gate)(j));
  const fromState = (gate: number, of: ArrayLike<number> = h) => times(of, cell.recurrentKernel, width, gate * units, units);
  const sum = (gate: number) => {
    const recurrent = fromState(gate);
    return fromInput(gate).map((v, j) => v + recurrent[j]! + (cell.resetAfter ? bias(gate, 1)(j) : 0));
  };
  switch (cell.kind) {
    case 'simple':
      return sum(0).map(f);
    case 'lstm': {
      const [i, forget, candidate, o] = [sum(0).map(s), sum(1).map(s), sum(2).map(f), sum(3).map(s)] as const;
      const next = new Float64Array(2 * units);
      for (let j = 0; j < units; j++) {
        const c = forget[j]! * state[units + j]! + i[j]! * candidate[j]!;
        next[units + j] = c;
        next[j] = o[j]! * f(c);
      }
      return next;
    }
    case 'gru': {
      const [z, r] = [sum(0).map(s), sum(1).map(s)] as const;
      const input = fromInput(2);
      const recurrent = cell.resetAfter
        ? fromState(2).map((v, j) => r[j]! * (v + bias(2, 1)(j)))
        : fromState(
            2,
            h.map((v, j) => r[j]! * v),
          );
      return h.map((v, j) => z[j]! * v + (1 - z[j]!) * f(input[j]! + recurrent[j]!));
    }
  }
}

/**
 * @param inputs one vector for every step, in the order in which the cell reads them
 * @returns the state after every step
 */
export function runKerasCell(cell: KerasCell, inputs: readonly ArrayLike<number>[], initial: Float64Array): Float64Array[] {
  let state = initial;
  return inputs.map((x) => (state = step(cell, x, state)));
}
