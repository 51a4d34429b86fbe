import type { Cell, Gate, GruCell, LstmCell, RnnCell } from './cell.js';
import { stateSize } from './cell.js';
import { addProduct } from './matrix.js';

/** The cell equations in float64: the reference that is compared with ONNX Runtime and that the measured curve runs. */

function limit(x: number, clip: number): number {
  return x > clip ? clip : x < -clip ? -clip : x;
}

export interface Peephole {
  readonly weights: Float64Array;
  readonly state: Float64Array;
}

/** Pre-activations of a gate [H], before `clip`. */
export function preActivations(gate: Gate, x: Float64Array, h: Float64Array, peephole?: Peephole): Float64Array {
  const sum = Float64Array.from(gate.bias);
  addProduct(gate.input, x, sum);
  addProduct(gate.recurrent, h, sum);
  if (peephole) for (let j = 0; j < sum.length; j++) sum[j] = sum[j]! + peephole.weights[j]! * peephole.state[j]!;
  return sum;
}

function gateValues(gate: Gate, x: Float64Array, h: Float64Array, clip: number, peephole?: Peephole): Float64Array {
  const values = preActivations(gate, x, h, peephole);
  for (let j = 0; j < values.length; j++) values[j] = gate.activation.value(limit(values[j]!, clip));
  return values;
}

function rnnStep(cell: RnnCell, x: Float64Array, state: Float64Array): Float64Array {
  return gateValues(cell.gate, x, state, cell.clip);
}

function lstmStep(cell: LstmCell, x: Float64Array, state: Float64Array): Float64Array {
  const n = cell.hiddenSize;
  const h = state.subarray(0, n);
  const c = state.subarray(n);
  const p = cell.peephole;
  const i = gateValues(cell.input, x, h, cell.clip, p ? { weights: p.input, state: c } : undefined);
  const f = cell.coupled
    ? i.map((v) => 1 - v)
    : gateValues(cell.forget, x, h, cell.clip, p ? { weights: p.forget, state: c } : undefined);
  const g = gateValues(cell.candidate, x, h, cell.clip);
  const next = new Float64Array(2 * n);
  const nextC = next.subarray(n);
  for (let j = 0; j < n; j++) nextC[j] = f[j]! * c[j]! + i[j]! * g[j]!;
  const o = gateValues(cell.output, x, h, cell.clip, p ? { weights: p.output, state: nextC } : undefined);
  for (let j = 0; j < n; j++) next[j] = o[j]! * cell.outputActivation.value(nextC[j]!);
  return next;
}

function gruStep(cell: GruCell, x: Float64Array, h: Float64Array): Float64Array {
  const n = cell.hiddenSize;
  const z = gateValues(cell.update, x, h, cell.clip);
  const r = gateValues(cell.reset, x, h, cell.clip);
  const candidate = Float64Array.from(cell.candidate.bias);
  addProduct(cell.candidate.input, x, candidate);
  if (cell.linearBeforeReset) {
    const recurrent = Float64Array.from(cell.recurrentBias);
    addProduct(cell.candidate.recurrent, h, recurrent);
    for (let j = 0; j < n; j++) candidate[j] = candidate[j]! + r[j]! * recurrent[j]!;
  } else {
    const gated = h.map((v, j) => v * r[j]!);
    addProduct(cell.candidate.recurrent, gated, candidate);
  }
  const next = new Float64Array(n);
  for (let j = 0; j < n; j++) {
    const value = cell.candidate.activation.value(limit(candidate[j]!, cell.clip));
    next[j] = (1 - z[j]!) * value + z[j]! * h[j]!;
  }
  return next;
}

/**
 * One step of the cell.
 * @param x input [I]
 * @param state h [H], or h and c after it [2H] for an LSTM
 * @returns the new state, a fresh array
 */
export function step(cell: Cell, x: Float64Array, state: Float64Array): Float64Array {
  switch (cell.kind) {
    case 'rnn':
      return rnnStep(cell, x, state);
    case 'lstm':
      return lstmStep(cell, x, state);
    case 'gru':
      return gruStep(cell, x, state);
  }
}

/** Runs a cell over inputs in the order given; returns the state after every step. */
export function runCell(cell: Cell, inputs: readonly Float64Array[], initial?: Float64Array): Float64Array[] {
  let state = initial ?? new Float64Array(stateSize(cell));
  return inputs.map((x) => (state = step(cell, x, state)));
}
