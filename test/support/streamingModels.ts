import { DataType } from '../../src/checkpoint/onnx/tensor.js';
import { Random } from './random.js';
import { TestGraph } from './testGraph.js';

/** Streaming models as exporters write them: one frame per call, the state as input and output. */

export interface StreamingStyle {
  readonly name: string;
  /** `in=out kind` of every pair, in the order of the inputs. */
  readonly pairs: readonly string[];
  /** Cells that must be found, from the bottom up. */
  readonly cells: readonly string[];
  /** Inputs to set. */
  readonly set?: Readonly<Record<string, string>>;
  readonly states?: Readonly<Record<string, string>>;
  /** True where the certificates of the cells hold for the stream. */
  readonly covered?: boolean;
  /** True where all of the graph is understood, and the state map as a whole is certified. */
  readonly whole?: boolean;
  build(g: TestGraph): void;
}

const H = 4;
const I = 3;

/** Weights small enough to forget within some dozen frames. */
const small = (g: TestGraph) => (dims: readonly number[]) => g.weight(dims, 0.3);

/** x W + h R + b, with the products in either order. */
function affine(g: TestGraph, x: string, inputs: number, h: string, outputs: number, flip: boolean): string {
  const products = [g.node('MatMul', [x, g.weight([inputs, outputs], 0.4)]), g.node('MatMul', [h, g.weight([H, outputs], 0.3)])];
  const sum = g.node('Add', flip ? [products[1]!, products[0]!] : products);
  return g.node('Add', [sum, g.weight([outputs], 0.2)]);
}

/** An LSTM cell in products and sums, gates in the order i, f, g, o as TensorFlow writes it. */
export function writtenLstm(g: TestGraph, x: string, inputs: number, h: string, c: string): { h: string; c: string } {
  const parts = g.split(affine(g, x, inputs, h, 4 * H, false), 1, [H, H, H, H]) as [string, string, string, string];
  const [i, f, o] = [parts[0], parts[1], parts[3]].map((part) => g.node('Sigmoid', [part])) as [string, string, string];
  const fresh = g.node('Mul', [i, g.node('Tanh', [parts[2]])]);
  const next = g.node('Add', [g.node('Mul', [f, c]), fresh]);
  return { h: g.node('Mul', [o, g.node('Tanh', [next])]), c: next };
}

/** A GRU cell by PyTorch's formula, gates r, z, n, reset after the product. */
export function writtenGruAfter(g: TestGraph, x: string, inputs: number, h: string): string {
  const input = g.node('Gemm', [x, g.weight([3 * H, inputs], 0.4), g.weight([3 * H], 0.2)], { transB: 1 });
  const state = g.node('Gemm', [h, g.weight([3 * H, H], 0.3), g.weight([3 * H], 0.2)], { transB: 1 });
  const [xr, xz, xn] = g.split(input, 1, [H, H, H]) as [string, string, string];
  const [hr, hz, hn] = g.split(state, 1, [H, H, H]) as [string, string, string];
  const r = g.node('Sigmoid', [g.node('Add', [xr, hr])]);
  const z = g.node('Sigmoid', [g.node('Add', [xz, hz])]);
  const n = g.node('Tanh', [g.node('Add', [xn, g.node('Mul', [r, hn])])]);
  const complement = g.node('Sub', [g.floats([1]), z]);
  return g.node('Add', [g.node('Mul', [complement, n]), g.node('Mul', [z, h])]);
}

/** A GRU cell with the reset before the product, on inputs joined with the state, as a mixture h + u (n − h). */
export function writtenGruBefore(g: TestGraph, x: string, inputs: number, h: string): string {
  const dense = (state: string, outputs: number) =>
    g.node('Add', [
      g.node('MatMul', [g.node('Concat', [x, state], { axis: 1 }), g.weight([inputs + H, outputs], 0.35)]),
      g.weight([outputs], 0.2),
    ]);
  const [r, u] = g.split(g.node('Sigmoid', [dense(h, 2 * H)]), 1, [H, H]) as [string, string];
  const n = g.node('Tanh', [dense(g.node('Mul', [r, h]), H)]);
  return g.node('Add', [h, g.node('Mul', [u, g.node('Sub', [n, h])])]);
}

const gru = { hidden: H, input: I } as const;

export const streamingStyles: readonly StreamingStyle[] = [
  {
    name: 'LSTM with h and c apart, as direct inputs',
    pairs: ['h0=hn hidden', 'c0=cn cell'],
    cells: ['lstm'],
    covered: true,
    build(g) {
      const x = g.input('x', [1, 1, I]);
      const [h, c] = [g.input('h0', [1, 1, H]), g.input('c0', [1, 1, H])];
      const operands = [x, g.weight([1, 4 * H, I], 0.4), g.weight([1, 4 * H, H], 0.2), g.weight([1, 8 * H], 0.2), '', h, c];
      g.node('LSTM', operands, { hidden_size: H }, ['y', 'hn', 'cn']);
      g.output(g.dense(g.squeeze(g.squeeze('y', 1), 0), H, 2), [1, 2]);
      g.output('hn', [1, 1, H]);
      g.output('cn', [1, 1, H]);
    },
  },
  {
    name: 'two GRU layers, states stacked in one tensor',
    pairs: ['state=stateN hidden'],
    cells: ['gru', 'gru'],
    covered: true,
    build(g) {
      const x = g.input('x', [1, 1, I]);
      const [a, b] = g.split(g.input('state', [2, 1, H]), 0, [1, 1]) as [string, string];
      const one = g.recurrent('GRU', x, { ...gru, initialH: a }, small(g));
      const two = g.recurrent('GRU', g.squeeze(one.y, 1), { hidden: H, input: H, initialH: b }, small(g));
      g.output(g.dense(g.squeeze(g.squeeze(two.y, 1), 0), H, 2), [1, 2]);
      g.output(g.node('Concat', [one.yH, two.yH], { axis: 0 }, ['stateN']), [2, 1, H]);
    },
  },
  {
    name: 'LSTM with h and c packed in a last axis, names that say nothing, free batch',
    pairs: ['in_1=out_2 packed'],
    cells: ['lstm'],
    covered: true,
    build(g) {
      const x = g.unsqueeze(g.input('in_0', ['N', I]), 0);
      const packed = g.input('in_1', ['N', H, 2]);
      const part = (i: number) => g.unsqueeze(g.squeeze(g.slice(packed, [i], [i + 1], [2]), 2), 0);
      const operands = [x, g.weight([1, 4 * H, I], 0.4), g.weight([1, 4 * H, H], 0.2), '', '', part(0), part(1)];
      g.node('LSTM', operands, { hidden_size: H }, ['', 'y_h', 'y_c']);
      const last = (name: string) => g.unsqueeze(g.squeeze(name, 0), 2);
      g.output(g.node('Sigmoid', [g.dense(g.squeeze('y_h', 0), H, 1)]), ['N', 1]);
      g.output(g.node('Concat', [last('y_h'), last('y_c')], { axis: 2 }, ['out_2']), ['N', H, 2]);
    },
  },
  {
    name: 'convolution cache',
    pairs: ['cache_in=cache_out cache'],
    cells: [],
    whole: true,
    build(g) {
      const x = g.input('x', [1, I, 1]);
      const joined = g.node('Concat', [g.input('cache_in', [1, I, 2]), x], { axis: 2 });
      g.output(g.node('Tanh', [g.node('Conv', [joined, g.weight([2, I, 3])], { kernel_shape: [3] })]), [1, 2, 1]);
      g.output(g.node('Identity', [g.slice(joined, [1], [2 ** 31 - 1], [2])], {}, ['cache_out']), [1, I, 2]);
    },
  },
  {
    name: 'weights chosen by an If on the sample rate, read from outside of the branch',
    pairs: ['state=state_out hidden'],
    cells: ['gru'],
    set: { sr: '8000' },
    covered: true,
    build(g) {
      const x = g.unsqueeze(g.input('x', [1, I]), 0);
      const state = g.input('state', [1, 1, H]);
      g.input('sr', [], DataType.INT64);
      const shared = g.weight([1, 6 * H], 0.2);
      const branch = (seed: number, prefix: string) => {
        const b = new TestGraph(g.opset, new Random(seed), prefix);
        const operands = [x, b.weight([1, 3 * H, I], 0.4), b.weight([1, 3 * H, H], 0.3), shared, '', state];
        b.node('GRU', operands, { hidden_size: H }, [`${prefix}y`, `${prefix}h`]);
        b.output(`${prefix}y`, [1, 1, 1, H]);
        b.output(`${prefix}h`, [1, 1, H]);
        return b.body();
      };
      const condition = g.node('Equal', ['sr', g.integers([16000], [])]);
      const outputs = ['y', 'state_out'];
      g.node('If', [condition], { then_branch: branch(1, 'then/'), else_branch: branch(2, 'else/') }, outputs);
      g.output(g.dense(g.squeeze(g.squeeze('y', 1), 0), H, 2), [1, 2]);
      g.output('state_out', [1, 1, H]);
    },
  },
  {
    name: 'LSTM unrolled into products and sums',
    pairs: ['h=h_out hidden', 'c=c_out cell'],
    cells: ['lstm'],
    covered: true,
    build(g) {
      const next = writtenLstm(g, g.input('x', [1, I]), I, g.input('h', [1, H]), g.input('c', [1, H]));
      g.output(g.dense(next.h, H, 2), [1, 2]);
      g.output(g.node('Identity', [next.h], {}, ['h_out']), [1, H]);
      g.output(g.node('Identity', [next.c], {}, ['c_out']), [1, H]);
    },
  },
  {
    name: 'GRU unrolled, reset after the product, input of the size of the state',
    pairs: ['hidden=hidden_next hidden'],
    cells: ['gru'],
    covered: true,
    build(g) {
      const next = writtenGruAfter(g, g.input('x', [1, H]), H, g.input('hidden', [1, H]));
      g.output(g.node('Tanh', [g.dense(next, H, H)]), [1, H]);
      g.output(g.node('Identity', [next], {}, ['hidden_next']), [1, H]);
    },
  },
  {
    name: 'GRU unrolled, reset before the product, as a difference, in float arithmetic only',
    pairs: ['h_prev=h_next hidden'],
    cells: ['gru'],
    covered: true,
    build(g) {
      const x = g.node('Relu', [g.dense(g.input('x', [1, 5]), 5, I)]);
      const next = writtenGruBefore(g, x, I, g.input('h_prev', [1, H]));
      g.output(g.dense(next, H, 2), [1, 2]);
      g.output(g.node('Identity', [next], {}, ['h_next']), [1, H]);
    },
  },
  {
    name: 'vanilla RNN unrolled',
    pairs: ['state=new_state hidden'],
    cells: ['rnn'],
    covered: true,
    build(g) {
      const next = g.node('Tanh', [affine(g, g.input('x', [1, I]), I, g.input('state', [1, H]), H, true)]);
      g.output(g.dense(next, H, 2), [1, 2]);
      g.output(g.node('Identity', [next], {}, ['new_state']), [1, H]);
    },
  },
  {
    name: 'no known cell: a leaky sum of a softmax',
    pairs: ['s=s_next general'],
    cells: [],
    whole: true,
    build(g) {
      const s = g.input('s', [1, I]);
      const fresh = g.node('Softmax', [g.node('Add', [g.dense(g.input('x', [1, I]), I, I), s])], { axis: 1 });
      const next = g.node('Add', [g.node('Mul', [s, g.floats([0.5])]), g.node('Mul', [fresh, g.floats([0.3])])], {}, ['s_next']);
      g.output(g.node('Mul', [next, g.floats([2])]), [1, I]);
      g.output(next, [1, I]);
    },
  },
  {
    name: 'features in front that one node cannot compute for all frames at once',
    pairs: ['h=hn hidden'],
    cells: ['gru'],
    covered: true,
    build(g) {
      // A Squeeze without axes takes the frames' axis too, and a Tile along it mixes them.
      const features = g.node('Squeeze', [g.node('Conv', [g.input('x', [1, 1, 6]), g.weight([I, 1, 6])], { kernel_shape: [6] })]);
      const x = g.unsqueeze(g.unsqueeze(g.node('Tanh', [features]), 0), 0);
      const { y, yH } = g.recurrent('GRU', x, { ...gru, initialH: g.input('h', [1, 1, H]) }, small(g));
      g.output(g.dense(g.squeeze(g.squeeze(y, 1), 0), H, 2), [1, 2]);
      g.output(g.node('Identity', [yH], {}, ['hn']), [1, 1, H]);
    },
  },
];
