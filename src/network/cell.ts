import type { Activation } from './activation.js';
import { addProduct, matrix, type Matrix } from './matrix.js';

/**
 * One direction of a recurrent layer as plain data, with the equations of ONNX's RNN, LSTM and GRU operators
 * (https://onnx.ai/onnx/operators/onnx__LSTM.html and its neighbours). H is the hidden size, I the input size.
 */

/** activation(input · x + recurrent · h + bias), elementwise. */
export interface Gate {
  readonly input: Matrix; // [H, I]
  readonly recurrent: Matrix; // [H, H]
  readonly bias: Float64Array; // [H], Wb + Rb
  readonly activation: Activation;
}

interface CellBase {
  readonly inputSize: number;
  readonly hiddenSize: number;
  /** Pre-activations are limited to [-clip, clip]; Infinity for none. */
  readonly clip: number;
}

export interface RnnCell extends CellBase {
  readonly kind: 'rnn';
  readonly gate: Gate;
}

export interface LstmCell extends CellBase {
  readonly kind: 'lstm';
  readonly input: Gate;
  readonly output: Gate;
  /** Its own weights do not matter when `coupled`. */
  readonly forget: Gate;
  readonly candidate: Gate;
  /** Applied to the cell state before the output gate. */
  readonly outputActivation: Activation;
  /** Weights from the cell state to the input, output and forget gate, each [H]; null without peepholes. */
  readonly peephole: { readonly input: Float64Array; readonly output: Float64Array; readonly forget: Float64Array } | null;
  /** input_forget: the forget gate is one minus the input gate. */
  readonly coupled: boolean;
}

export interface GruCell extends CellBase {
  readonly kind: 'gru';
  readonly update: Gate;
  readonly reset: Gate;
  /** bias holds only Wb when linearBeforeReset, else Wb + Rb. */
  readonly candidate: Gate;
  /** Rb of the candidate [H], inside the reset product; zero unless linearBeforeReset. */
  readonly recurrentBias: Float64Array;
  readonly linearBeforeReset: boolean;
}

export type Cell = RnnCell | LstmCell | GruCell;

/** Length of the state vector: h, and for an LSTM c after it. */
export function stateSize(cell: Cell): number {
  return cell.kind === 'lstm' ? 2 * cell.hiddenSize : cell.hiddenSize;
}

/** The gates that matter, in the order in which ONNX lists them. */
export function gatesOf(cell: Cell): readonly Gate[] {
  switch (cell.kind) {
    case 'rnn':
      return [cell.gate];
    case 'lstm':
      return cell.coupled ? [cell.input, cell.output, cell.candidate] : [cell.input, cell.output, cell.forget, cell.candidate];
    case 'gru':
      return [cell.update, cell.reset, cell.candidate];
  }
}

/** Multiplications of one step for one sequence. */
export function multiplications(cell: Cell): number {
  return gatesOf(cell).length * cell.hiddenSize * (cell.hiddenSize + cell.inputSize);
}

/** The cell as it is while its input is held at x: one without inputs, whose biases hold W x. The recurrent weights are shared. */
export function heldAt(cell: Cell, x: Float64Array): Cell {
  const gate = (g: Gate): Gate => {
    const bias = Float64Array.from(g.bias);
    addProduct(g.input, x, bias);
    return { ...g, input: matrix(cell.hiddenSize, 0), bias };
  };
  switch (cell.kind) {
    case 'rnn':
      return { ...cell, inputSize: 0, gate: gate(cell.gate) };
    case 'lstm': {
      const { input, output, forget, candidate } = cell;
      return {
        ...cell,
        inputSize: 0,
        input: gate(input),
        output: gate(output),
        forget: gate(forget),
        candidate: gate(candidate),
      };
    }
    case 'gru': {
      const { update, reset, candidate } = cell;
      return { ...cell, inputSize: 0, update: gate(update), reset: gate(reset), candidate: gate(candidate) };
    }
  }
}
