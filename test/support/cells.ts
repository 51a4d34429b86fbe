import {
  activation,
  activationNames,
  takesAlpha,
  takesBeta,
  type Activation,
  type ActivationName,
} from '../../src/network/activation.js';
import type { Cell, Gate, GruCell, LstmCell, RnnCell } from '../../src/network/cell.js';
import { gatesOf } from '../../src/network/cell.js';
import { matrix, type Matrix } from '../../src/network/matrix.js';
import type { Box } from '../../src/stability/interval.js';
import type { Random } from './random.js';

/** Random cells for the properties of the certificates: every kind, with weights from tiny to large. */

export interface CellShape {
  readonly hidden: number;
  readonly input: number;
  /** Recurrent weights are uniform within ± this / √hidden, input weights and biases within ± this / √input and ± this / 2. */
  readonly scale: number;
  readonly clip?: number;
}

export function randomShape(random: Random): CellShape {
  // Small cells are where bounds are tight enough to be broken, so they come most often.
  const hidden = random.chance(0.6) ? random.int(1, 4) : random.int(5, 24);
  const shape = { hidden, input: random.int(1, 4), scale: random.logarithmic(0.02, 6) };
  return random.chance(0.15) ? { ...shape, clip: random.logarithmic(0.05, 3) } : shape;
}

/** Alpha and beta of either sign where the activation takes any. */
export function randomActivation(name: ActivationName, random: Random): Activation {
  const value = () => (random.chance(0.75) ? 1 : -1) * random.logarithmic(0.05, 1.5);
  return activation(name, takesAlpha(name) ? value() : undefined, takesBeta(name) ? value() : undefined);
}

function randomMatrix(rows: number, cols: number, range: number, random: Random): Matrix {
  // Some exact zeros: skipped products must not change a bound.
  return matrix(
    rows,
    cols,
    random.vector(rows * cols, -range, range).map((v) => (random.chance(0.05) ? 0 : v)),
  );
}

function randomGate(act: Activation, { hidden, input, scale }: CellShape, random: Random): Gate {
  return {
    input: randomMatrix(hidden, input, scale / Math.sqrt(input), random),
    recurrent: randomMatrix(hidden, hidden, scale / Math.sqrt(hidden), random),
    bias: random.chance(0.3) ? new Float64Array(hidden) : random.vector(hidden, -scale / 2, scale / 2),
    activation: act,
  };
}

const base = (shape: CellShape) => ({ inputSize: shape.input, hiddenSize: shape.hidden, clip: shape.clip ?? Infinity });

export function randomRnn(name: ActivationName, shape: CellShape, random: Random): RnnCell {
  return { kind: 'rnn', ...base(shape), gate: randomGate(randomActivation(name, random), shape, random) };
}

/** Mostly those that keep gates and states bounded, without which there is little to certify. */
function otherActivation(kind: 'gate' | 'value', random: Random): ActivationName {
  if (random.chance(0.2)) return random.pick(activationNames);
  return random.pick(kind === 'gate' ? ['Sigmoid', 'HardSigmoid'] : ['Tanh', 'Softsign', 'ScaledTanh', 'HardSigmoid', 'Sigmoid']);
}

export const lstmVariants = ['default', 'peephole', 'coupled', 'coupled peephole', 'other activations', 'other coupled'] as const;

export function randomLstm(variant: (typeof lstmVariants)[number], shape: CellShape, random: Random): LstmCell {
  const other = variant.startsWith('other');
  const act = (usual: 'Sigmoid' | 'Tanh') =>
    randomActivation(other ? otherActivation(usual === 'Sigmoid' ? 'gate' : 'value', random) : usual, random);
  const [f, g, h] = [act('Sigmoid'), act('Tanh'), act('Tanh')];
  const weights = () => random.vector(shape.hidden, -shape.scale / 2, shape.scale / 2);
  return {
    kind: 'lstm',
    ...base(shape),
    input: randomGate(f, shape, random),
    output: randomGate(f, shape, random),
    forget: randomGate(f, shape, random),
    candidate: randomGate(g, shape, random),
    outputActivation: h,
    peephole: variant.includes('peephole') ? { input: weights(), output: weights(), forget: weights() } : null,
    coupled: variant.includes('coupled'),
  };
}

export const gruVariants = [
  'reset after',
  'reset before',
  'reset after, other activations',
  'reset before, other activations',
] as const;

export function randomGru(variant: (typeof gruVariants)[number], shape: CellShape, random: Random): GruCell {
  const other = variant.includes('other');
  const act = (usual: 'Sigmoid' | 'Tanh') =>
    randomActivation(other ? otherActivation(usual === 'Sigmoid' ? 'gate' : 'value', random) : usual, random);
  const [f, g] = [act('Sigmoid'), act('Tanh')];
  const linearBeforeReset = variant.startsWith('reset after');
  return {
    kind: 'gru',
    ...base(shape),
    update: randomGate(f, shape, random),
    reset: randomGate(f, shape, random),
    candidate: randomGate(g, shape, random),
    recurrentBias: linearBeforeReset
      ? random.vector(shape.hidden, -shape.scale / 2, shape.scale / 2)
      : new Float64Array(shape.hidden),
    linearBeforeReset,
  };
}

/** The cell with its recurrent weights times a factor. */
export function shrunk<C extends Cell>(cell: C, factor: number): C {
  const gate = (g: Gate): Gate => ({
    ...g,
    recurrent: matrix(
      g.recurrent.rows,
      g.recurrent.cols,
      g.recurrent.data.map((v) => v * factor),
    ),
  });
  const vector = (v: Float64Array) => v.map((x) => x * factor);
  switch (cell.kind) {
    case 'rnn':
      return { ...cell, gate: gate(cell.gate) };
    case 'lstm': {
      const { peephole: p } = cell;
      return {
        ...cell,
        input: gate(cell.input),
        output: gate(cell.output),
        forget: gate(cell.forget),
        candidate: gate(cell.candidate),
        peephole: p && { input: vector(p.input), output: vector(p.output), forget: vector(p.forget) },
      };
    }
    case 'gru':
      return { ...cell, update: gate(cell.update), reset: gate(cell.reset), candidate: gate(cell.candidate) };
  }
}

/** A box of inputs: wide, narrow, shifted, or with some inputs fixed. */
export function randomInputBox(size: number, random: Random): Box {
  const centre = random.vector(size, -1, 1).map((v) => v * random.pick([0, 0.5, 2]));
  const radius = random.vector(size, 0, 1).map((v) => (random.chance(0.1) ? 0 : v * random.pick([0.1, 1, 3])));
  return { lower: centre.map((c, i) => c - radius[i]!), upper: centre.map((c, i) => c + radius[i]!) };
}

/** Largest sum of absolute terms in a pre-activation: what rounding errors of one step are relative to. */
export function largestSum(cell: Cell, x: Box, state: Box): number {
  const size = (b: Box, j: number) => Math.min(1e6, Math.max(Math.abs(b.lower[j]!), Math.abs(b.upper[j]!)));
  let largest = 1;
  for (const gate of gatesOf(cell)) {
    for (let r = 0; r < cell.hiddenSize; r++) {
      let sum = Math.abs(gate.bias[r]!);
      for (let c = 0; c < cell.inputSize; c++) sum += Math.abs(gate.input.data[r * cell.inputSize + c]!) * size(x, c);
      for (let c = 0; c < cell.hiddenSize; c++) sum += Math.abs(gate.recurrent.data[r * cell.hiddenSize + c]!) * size(state, c);
      largest = Math.max(largest, sum);
    }
  }
  return largest;
}
