import { activation } from '../../src/network/activation.js';
import type { Cell, Gate, GruCell, LstmCell } from '../../src/network/cell.js';
import { stateSize } from '../../src/network/cell.js';
import { matrix } from '../../src/network/matrix.js';
import type { RecurrentNetwork } from '../../src/network/network.js';

/** Cells of one to some units whose long-term behaviour is known on paper. */

const gate = (name: 'Tanh' | 'Sigmoid' | 'Relu' | 'Affine', input: number, recurrent: number, bias: number): Gate => ({
  input: matrix(1, 1, Float64Array.of(input)),
  recurrent: matrix(1, 1, Float64Array.of(recurrent)),
  bias: Float64Array.of(bias),
  activation: activation(name),
});
const unit = { inputSize: 1, hiddenSize: 1, clip: Infinity } as const;

/** h′ = tanh(w h + x). For w > 1 and small x it has two attracting fixed points and a repelling one between them. */
export const tanhUnit = (recurrent: number, input = 1): Cell => ({
  kind: 'rnn',
  ...unit,
  gate: gate('Tanh', input, recurrent, 0),
});

/** h′ = w h + x. */
export const linearUnit = (recurrent: number): Cell => ({ kind: 'rnn', ...unit, gate: gate('Affine', 1, recurrent, 0) });

/** Its gates let nothing in and nothing out unless |x| is large: a latch that holds what a strong input wrote. */
export const lstmLatch: LstmCell = {
  kind: 'lstm',
  ...unit,
  input: gate('Sigmoid', 0, 0, 2),
  output: gate('Sigmoid', 0, 0, 4),
  forget: gate('Sigmoid', 0, 0, 0),
  candidate: gate('Tanh', 4, 4, 0),
  outputActivation: activation('Tanh'),
  peephole: null,
  coupled: false,
};

export const gruLatch: GruCell = {
  kind: 'gru',
  ...unit,
  update: gate('Sigmoid', 0, 0, 1),
  reset: gate('Sigmoid', 0, 0, 4),
  candidate: gate('Tanh', 2, 3, 0),
  recurrentBias: new Float64Array(1),
  linearBeforeReset: true,
};

/** A network of one forward layer over the source `x`, from the zero state. */
export function oneLayer(cell: Cell, reverse = false): RecurrentNetwork {
  const { inputSize, hiddenSize, kind } = cell;
  return {
    layers: [
      {
        name: 'layer',
        kind,
        inputSize,
        hiddenSize,
        directions: [{ cell, reverse, initialState: new Float64Array(stateSize(cell)) }],
        input: { kind: 'source', size: inputSize, name: 'x', operator: null, range: null, recurrent: false },
      },
    ],
  };
}
