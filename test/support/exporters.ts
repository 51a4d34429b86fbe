import { DataType } from '../../src/checkpoint/onnx/tensor.js';
import type { TestGraph } from './testGraph.js';

/** Graphs around recurrent layers in the styles of PyTorch, Keras through tf2onnx, and others. */
export interface Style {
  readonly name: string;
  /** Smallest operator set in which the style's forms exist. */
  readonly minOpset?: number;
  /** True for forms that hold the length of the sequence as a number. */
  readonly fixedOnly?: boolean;
  /** Sizes of the dimensions in X: `time` is a symbol or a number. */
  build(g: TestGraph, time: string | number): void;
}

const B = 'batch';

/** Y of one direction, [time, 1, batch, H], as a sequence again. */
const sequence = (g: TestGraph, y: string) => g.squeeze(y, 1);

export const styles: readonly Style[] = [
  {
    name: 'PyTorch: GRU stack, batch first, last step by Gather(-1), Gemm',
    build(g, time) {
      const x = g.transpose(g.input('x', [B, time, 3]), 1, 0, 2);
      const one = sequence(g, g.recurrent('GRU', x, { hidden: 5, input: 3, attributes: { linear_before_reset: 1 } }).y);
      const two = sequence(g, g.recurrent('GRU', one, { hidden: 4, input: 5, attributes: { linear_before_reset: 1 } }).y);
      const last = g.node('Gather', [g.transpose(two, 1, 0, 2), g.integers([-1], [])], { axis: 1 });
      g.output(g.node('Gemm', [last, g.weight([2, 4]), g.weight([2])], { transB: 1 }), [B, 2]);
    },
  },
  {
    name: 'PyTorch: bidirectional LSTM stack, Transpose and Reshape(0, 0, -1), whole sequence',
    build(g, time) {
      const joined = (y: string) => g.reshape(g.transpose(y, 0, 2, 1, 3), 0, 0, -1);
      const x = g.input('x', [time, B, 3]);
      const one = joined(g.recurrent('LSTM', x, { hidden: 3, input: 3, direction: 'bidirectional' }).y);
      const two = joined(g.recurrent('LSTM', one, { hidden: 4, input: 6, direction: 'bidirectional' }).y);
      g.output(two, [time, B, 8]);
    },
  },
  {
    name: 'PyTorch: zero initial state from ConstantOfShape of a computed shape, shapes through Shape → Gather → Concat',
    minOpset: 9,
    build(g, time) {
      const x = g.input('x', [time, B, 2]);
      const batch = g.unsqueeze(g.node('Gather', [g.node('Shape', [x]), g.integers([1], [])], { axis: 0 }), 0);
      const zeros = g.node('ConstantOfShape', [g.node('Concat', [g.integers([2]), batch, g.integers([3])], { axis: 0 })]);
      const { y } = g.recurrent('GRU', x, { hidden: 3, input: 2, direction: 'bidirectional', initialH: zeros });
      const one = g.reshapeLike(g.transpose(y, 0, 2, 1, 3), [null, null, 6]);
      const two = sequence(g, g.recurrent('GRU', one, { hidden: 3, input: 6 }).y);
      g.output(g.node('Sigmoid', [g.dense(two, 3, 1)]), [time, B, 1]);
    },
  },
  {
    name: 'tf2onnx: LSTM stack with back-to-back Transposes, Y_h, dense',
    build(g, time) {
      const x = g.transpose(g.input('x', [B, time, 4]), 1, 0, 2);
      const one = g.transpose(sequence(g, g.recurrent('LSTM', x, { hidden: 5, input: 4 }).y), 1, 0, 2);
      const two = g.recurrent('LSTM', g.transpose(one, 1, 0, 2), { hidden: 3, input: 5 });
      g.output(g.node('Sigmoid', [g.dense(g.squeeze(two.yH, 0), 3, 2)]), [B, 2]);
    },
  },
  {
    name: 'dense layers and activations between three RNN layers, last step by Slice',
    build(g, time) {
      const x = g.node('Tanh', [g.dense(g.input('x', [time, B, 3]), 3, 4)]);
      const one = g.node('Relu', [g.dense(sequence(g, g.recurrent('RNN', x, { hidden: 3, input: 4 }).y), 3, 3)]);
      const two = sequence(g, g.recurrent('RNN', one, { hidden: 4, input: 3, attributes: { activations: ['Relu'] } }).y);
      const three = sequence(g, g.recurrent('RNN', g.node('LeakyRelu', [two], { alpha: 0.1 }), { hidden: 3, input: 4 }).y);
      g.output(g.squeeze(g.slice(three, [-1], [2 ** 31 - 1], [0]), 0), [B, 3]);
    },
  },
  {
    name: 'embedding of int64 tokens in front, batch first',
    build(g, time) {
      const tokens = g.input('tokens', [B, time], DataType.INT64);
      const x = g.transpose(g.node('Gather', [g.weight([17, 4], 0.8), tokens]), 1, 0, 2);
      const one = sequence(g, g.recurrent('LSTM', x, { hidden: 4, input: 4 }).y);
      const two = sequence(g, g.recurrent('GRU', one, { hidden: 3, input: 4 }).y);
      g.output(g.dense(g.transpose(two, 1, 0, 2), 3, 5), [B, time, 5]);
    },
  },
  {
    name: 'weights behind Unsqueeze(Concat(Slice(Constant))), gates put in another order',
    build(g, time) {
      const behind = ([, ...dims]: readonly number[]) => {
        g.weight(dims);
        const constant = g.node('Constant', [], { value: g.initializers.pop()! });
        const [rows, half] = [dims[0]!, dims[0]! / 2];
        const parts = [g.slice(constant, [half], [rows], [0]), g.slice(constant, [0], [half], [0])];
        return g.unsqueeze(g.node('Concat', parts, { axis: 0 }), 0);
      };
      const x = g.input('x', [time, B, 3]);
      const one = sequence(g, g.recurrent('LSTM', x, { hidden: 4, input: 3 }, behind).y);
      const two = g.recurrent('LSTM', one, { hidden: 2, input: 4 });
      g.output(g.squeeze(two.yH, 0), [B, 2]);
    },
  },
  {
    name: 'weights cast from float16',
    build(g, time) {
      const cast = (dims: readonly number[]) => g.node('Cast', [g.weight(dims, 0.5, DataType.FLOAT16)], { to: DataType.FLOAT });
      const x = g.input('x', [time, B, 3]);
      const one = sequence(g, g.recurrent('GRU', x, { hidden: 4, input: 3 }, cast).y);
      g.output(sequence(g, g.recurrent('GRU', one, { hidden: 3, input: 4 }, cast).y), [time, B, 3]);
    },
  },
  {
    name: 'skip connections: input beside Y, input added to Y',
    build(g, time) {
      const x = g.input('x', [time, B, 4]);
      const one = sequence(g, g.recurrent('GRU', x, { hidden: 3, input: 4 }).y);
      const two = sequence(g, g.recurrent('LSTM', g.node('Concat', [x, one], { axis: 2 }), { hidden: 4, input: 7 }).y);
      const added = g.node('Add', [x, two]);
      const three = sequence(g, g.recurrent('RNN', added, { hidden: 4, input: 4 }).y);
      g.output(g.node('Add', [three, added]), [time, B, 4]);
    },
  },
  {
    name: 'features split, reordered and sliced between layers',
    build(g, time) {
      const x = g.input('x', [time, B, 4]);
      const one = sequence(g, g.recurrent('GRU', x, { hidden: 6, input: 4 }).y);
      const [a, b] = g.split(one, 2, [2, 4]) as [string, string];
      const reordered = g.node('Concat', [g.slice(b, [1], [4], [2]), a], { axis: -1 });
      const two = sequence(g, g.recurrent('GRU', reordered, { hidden: 3, input: 5 }).y);
      g.output(g.slice(two, [0], [2], [2]), [time, B, 2]);
    },
  },
  {
    name: 'a reverse stack, first step by Gather(0)',
    build(g, time) {
      const x = g.input('x', [time, B, 3]);
      const one = sequence(g, g.recurrent('GRU', x, { hidden: 4, input: 3, direction: 'reverse' }).y);
      const two = sequence(g, g.recurrent('LSTM', one, { hidden: 3, input: 4, direction: 'reverse' }).y);
      g.output(g.node('Gather', [two, g.integers([0], [])], { axis: 0 }), [B, 3]);
    },
  },
  {
    name: 'layer normalisation by hand and scaling between layers: Mul, Sub and Div by constants',
    build(g, time) {
      const x = g.node('Div', [g.node('Sub', [g.input('x', [time, B, 3]), g.weight([3])]), g.floats([2, 3, 4])]);
      const one = sequence(g, g.recurrent('RNN', x, { hidden: 4, input: 3 }).y);
      const two = sequence(g, g.recurrent('RNN', g.node('Mul', [one, g.weight([4])]), { hidden: 2, input: 4 }).y);
      g.output(two, [time, B, 2]);
    },
  },
  {
    name: 'static shapes: Reshape to literal sizes, last step by the index T − 1',
    fixedOnly: true,
    build(g, time) {
      const t = Number(time);
      const x = g.transpose(g.input('x', [2, t, 3]), 1, 0, 2);
      const one = g.reshape(g.recurrent('GRU', x, { hidden: 4, input: 3 }).y, t, 2, 4);
      const two = g.reshape(g.recurrent('LSTM', one, { hidden: 3, input: 4 }).y, t, 2, 3);
      g.output(g.node('Gather', [two, g.integers([t - 1], [])], { axis: 0 }), [2, 3]);
      g.output(g.slice(two, [t - 1], [t], [0]), [1, 2, 3]);
    },
  },
  {
    name: 'static shapes: batch and time as one axis through a dense layer',
    fixedOnly: true,
    build(g, time) {
      const t = Number(time);
      const y = g.recurrent('LSTM', g.input('x', [t, 2, 3]), { hidden: 4, input: 3 }).y;
      const flat = g.reshape(y, t * 2, 4);
      g.output(g.reshape(g.node('Gemm', [flat, g.weight([4, 2]), g.weight([2])]), t, 2, 2), [t, 2, 2]);
    },
  },
];
