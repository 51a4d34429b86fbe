import type { Activation } from '../../network/activation.js';
import { nodeActivation } from './layers/activations.js';
import type { KerasCell } from './equations.js';
import type { LayerConfig } from './layerConfig.js';
import type { LayerWeights } from './weights.js';

/** A Keras cell with its weights in the layout of ONNX's recurrent nodes. */
export interface OnnxCell {
  readonly config: LayerConfig;
  readonly operator: 'RNN' | 'LSTM' | 'GRU';
  readonly units: number;
  readonly inputSize: number;
  /** [gates · units, inputSize] and [gates · units, units], row-major. */
  readonly w: Float64Array;
  readonly r: Float64Array;
  /** Input biases, then recurrent biases: [2 · gates · units]. */
  readonly b: Float64Array;
  readonly activations: readonly Activation[];
  readonly linearBeforeReset: boolean;
  /** The same as the file has it. */
  readonly original: KerasCell;
}

const operators: Readonly<Record<string, OnnxCell['operator']>> = {
  SimpleRNN: 'RNN',
  SimpleRNNCell: 'RNN',
  LSTM: 'LSTM',
  LSTMCell: 'LSTM',
  GRU: 'GRU',
  GRUCell: 'GRU',
};

const kinds = { RNN: 'simple', LSTM: 'lstm', GRU: 'gru' } as const;

/** For each gate in ONNX's order its position in Keras' order: Keras has i f c o and z r h, ONNX i o f c and z r h. */
const gateOrder = { RNN: [0], LSTM: [0, 3, 1, 2], GRU: [0, 1, 2] } as const;

export function isCell(config: LayerConfig): boolean {
  return operators[config.className] !== undefined;
}

/**
 * @param part forward, backward or nothing: which of a layer's directions the cell is in
 * @param index position in a stack of cells
 */
export function readCell(config: LayerConfig, weights: LayerWeights, inputSize: number, part: string, index: number): OnnxCell {
  const operator = operators[config.className];
  if (!operator) {
    return config.fail('unknown-layer', 'it is no cell that is understood (SimpleRNNCell, LSTMCell, GRUCell are)');
  }
  const units = config.size('units');
  const order = gateOrder[operator];
  const width = order.length * units;
  const roles = ['kernel', 'recurrent_kernel', 'bias'];
  const take = (role: string, ...shapes: (readonly number[])[]) => weights.take(role, roles, shapes, part, index);
  const kernel = take('kernel', [inputSize, width]).data;
  const recurrent = take('recurrent_kernel', [units, width]).data;
  const hasBias = config.boolean('use_bias', true);
  // Only cells that reset after the product have recurrent biases of their own.
  const bias = hasBias ? take('bias', ...(operator === 'GRU' ? [[width], [2, width]] : [[width]])) : null;
  const twoBiases = bias !== null && bias.dims.length === 2;
  const linearBeforeReset = operator === 'GRU' && config.boolean('reset_after', twoBiases);
  if (bias && operator === 'GRU' && linearBeforeReset !== twoBiases) {
    config.fail(
      'bad-shape',
      `its bias has shape [${bias.dims.join(', ')}], which contradicts reset_after = ${linearBeforeReset}`,
    );
  }
  const columns = order.flatMap((gate) => Array.from({ length: units }, (_, j) => gate * units + j));
  const b = new Float64Array(2 * width);
  if (bias)
    columns.forEach((from, to) => {
      b[to] = bias.data[from]!;
      if (twoBiases) b[width + to] = bias.data[width + from]!;
    });
  const activations = readActivations(config, operator);
  return {
    config,
    operator,
    units,
    inputSize,
    w: selectColumns(kernel, inputSize, width, columns),
    r: selectColumns(recurrent, units, width, columns),
    b,
    activations,
    linearBeforeReset,
    original: {
      kind: kinds[operator],
      units,
      inputSize,
      kernel,
      recurrentKernel: recurrent,
      bias: bias?.data ?? null,
      activation: activations.at(-1)!,
      recurrentActivation: operator === 'RNN' ? null : activations[0]!,
      resetAfter: linearBeforeReset,
    },
  };
}

/** Columns of a [rows, width] matrix as the rows of a new one. */
function selectColumns(data: Float64Array, rows: number, width: number, columns: readonly number[]): Float64Array {
  const out = new Float64Array(columns.length * rows);
  columns.forEach((column, i) => {
    for (let row = 0; row < rows; row++) out[i * rows + row] = data[row * width + column]!;
  });
  return out;
}

function readActivations(config: LayerConfig, operator: OnnxCell['operator']): Activation[] {
  const read = (key: string, fallback: string): Activation => {
    const named = config.activation(key, fallback);
    return (
      nodeActivation(config, named) ??
      config.fail('unknown-activation', `its ${key} ${named.name} is not one that ONNX's recurrent nodes have`)
    );
  };
  const main = read('activation', 'tanh');
  if (operator === 'RNN') return [main];
  // TF.js' default; Keras always writes it.
  const gates = read('recurrent_activation', 'hard_sigmoid');
  return operator === 'LSTM' ? [gates, main, main] : [gates, main];
}
