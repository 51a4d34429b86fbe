import { DataType, type Tensor } from '../../src/checkpoint/onnx/tensor.js';
import { modelBytes, node, port, weights, type Attributes } from './onnxModel.js';
import type { Random } from './random.js';

/** Models of one recurrent node with any attribute and input that ONNX gives it. */

export type Operator = 'RNN' | 'LSTM' | 'GRU';
export const gateCounts = { RNN: 1, GRU: 3, LSTM: 4 } as const;

export interface NodeSpec {
  readonly operator: Operator;
  readonly opset: number;
  readonly type: DataType;
  readonly direction: 'forward' | 'reverse' | 'bidirectional';
  readonly hidden: number;
  readonly input: number;
  readonly steps: number;
  readonly batch: number;
  /** Weights are uniform within ± this. */
  readonly scale: number;
  readonly bias: boolean;
  readonly peepholes: boolean;
  /** `input`: supplied with the feeds; `constant`: stored in the file, the same for every sequence. */
  readonly initialState: 'none' | 'input' | 'constant';
  readonly lengths: readonly number[] | null;
  /** activations, activation_alpha, activation_beta, clip, input_forget, linear_before_reset. */
  readonly attributes: Attributes;
}

export interface NodeModel {
  readonly bytes: Uint8Array;
  readonly feeds: ReadonlyMap<string, Tensor>;
  readonly outputs: readonly string[];
}

export function directionsOf(spec: Pick<NodeSpec, 'direction'>): number {
  return spec.direction === 'bidirectional' ? 2 : 1;
}

export function buildNodeModel(spec: NodeSpec, random: Random): NodeModel {
  const { hidden: h, input: i, steps, batch, type } = spec;
  const gates = gateCounts[spec.operator];
  const d = directionsOf(spec);
  const isLstm = spec.operator === 'LSTM';
  const numbers = (size: number, range: number) =>
    type === DataType.DOUBLE ? random.vector(size, -range, range) : random.floats(size, -range, range);
  const stored = (name: string, dims: readonly number[], range = spec.scale) =>
    weights(
      name,
      dims,
      numbers(
        dims.reduce((a, b) => a * b, 1),
        range,
      ),
      type,
    );
  const initializers = [stored('W', [d, gates * h, i]), stored('R', [d, gates * h, h])];
  if (spec.bias) initializers.push(stored('B', [d, 2 * gates * h]));
  if (spec.peepholes) initializers.push(stored('P', [d, 3 * h]));
  const batchFirst = spec.attributes['layout'] === 1;
  const ordered = <T>(time: T, n: T, ...rest: T[]): T[] => (batchFirst ? [n, time, ...rest] : [time, n, ...rest]);
  const states = spec.initialState === 'none' ? [] : isLstm ? ['h0', 'c0'] : ['h0'];
  const feeds = new Map<string, Tensor>([['X', { type, dims: ordered(steps, batch, i), data: numbers(steps * batch * i, 1.5) }]]);
  const inputs = [port('X', ordered<number | string>(steps, 'batch', i), type)];
  for (const name of states) {
    const each = Array.from({ length: d }, () => numbers(h, 0.9));
    const dims = ordered(d, batch, h);
    const data =
      spec.initialState === 'input'
        ? numbers(d * batch * h, 0.9)
        : batchFirst
          ? Float64Array.from(Array.from({ length: batch }, () => each.flatMap((v) => [...v])).flat())
          : Float64Array.from(each.flatMap((v) => Array.from({ length: batch }, () => [...v]).flat()));
    if (spec.initialState === 'constant') initializers.push(weights(name, dims, data, type));
    else {
      inputs.push(port(name, ordered<number | string>(d, 'batch', h), type));
      feeds.set(name, { type, dims, data });
    }
  }
  if (spec.lengths) {
    inputs.push(port('lengths', ['batch'], DataType.INT32));
    feeds.set('lengths', { type: DataType.INT32, dims: [batch], data: Float64Array.from(spec.lengths) });
  }
  const operands = ['X', 'W', 'R', spec.bias ? 'B' : '', spec.lengths ? 'lengths' : '', states[0] ?? '', states[1] ?? ''];
  if (spec.peepholes) operands.push('P');
  while (operands[operands.length - 1] === '') operands.pop();
  const outputs = isLstm ? ['Y', 'Y_h', 'Y_c'] : ['Y', 'Y_h'];
  const bytes = modelBytes({
    opset: spec.opset,
    inputs,
    outputs: outputs.map((name) => {
      const y = batchFirst ? ['batch', steps, d, h] : [steps, d, 'batch', h];
      return port(name, name === 'Y' ? y : ordered<number | string>(d, 'batch', h), type);
    }),
    nodes: [node(spec.operator, operands, outputs, { hidden_size: h, direction: spec.direction, ...spec.attributes })],
    initializers,
  });
  return { bytes, feeds, outputs };
}

export const testedOpsets = [7, 9, 10, 11, 13, 14, 17, 21, 22] as const;

/** A random node with nothing unusual about its attributes; tests override what they are about. */
export function randomSpec(operator: Operator, random: Random): NodeSpec {
  const steps = random.int(1, 12);
  const batch = random.int(1, 3);
  return {
    operator,
    opset: random.pick(testedOpsets),
    type: DataType.FLOAT,
    direction: random.pick(['forward', 'reverse', 'bidirectional']),
    hidden: random.int(1, 6),
    input: random.int(1, 5),
    steps,
    batch,
    scale: random.logarithmic(0.2, 1.2),
    bias: random.chance(0.7),
    peepholes: false,
    initialState: random.pick(['none', 'input', 'constant']),
    lengths: random.chance(0.3) ? Array.from({ length: batch }, () => random.int(1, steps)) : null,
    attributes: {},
  };
}
