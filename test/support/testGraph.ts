import { create } from '@bufbuild/protobuf';
import {
  GraphProtoSchema,
  type GraphProto,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from '../../src/checkpoint/onnx/onnx_pb.js';
import { DataType } from '../../src/checkpoint/onnx/tensor.js';
import { integers, modelBytes, node, port, weights, type Attributes, type Dims } from './onnxModel.js';
import type { Random } from './random.js';
import { gateCounts, type Operator } from './recurrentModel.js';

export interface LayerOptions {
  readonly hidden: number;
  readonly input: number;
  readonly direction?: 'forward' | 'reverse' | 'bidirectional';
  readonly initialH?: string;
  readonly attributes?: Attributes;
}

/** Graphs as exporters write them, in the dialect of an operator set. */
export class TestGraph {
  private readonly inputs: ValueInfoProto[] = [];
  private readonly outputs: ValueInfoProto[] = [];
  private readonly nodes: NodeProto[] = [];
  readonly initializers: TensorProto[] = [];
  private count = 0;

  constructor(
    readonly opset: number,
    readonly random: Random,
    /** In front of every name, for the body of an If, Loop or Scan. */
    private readonly prefix = '',
  ) {}

  input(name: string, dims: Dims, type: DataType = DataType.FLOAT): string {
    this.inputs.push(port(name, dims, type));
    return name;
  }

  output(tensor: string, dims: Dims, type: DataType = DataType.FLOAT): void {
    this.outputs.push(port(tensor, dims, type));
  }

  node(opType: string, inputs: readonly string[], attributes: Attributes = {}, outputs = [this.name('t')]): string {
    this.nodes.push(node(opType, inputs, outputs, attributes));
    return outputs[0]!;
  }

  private name(kind: string): string {
    return `${this.prefix}${kind}${this.count++}`;
  }

  /** Stored weights, uniform within ± range. */
  weight(dims: readonly number[], range = 0.5, type: DataType = DataType.FLOAT): string {
    const name = this.name('w');
    const size = dims.reduce((a, b) => a * b, 1);
    this.initializers.push(weights(name, dims, this.random.floats(size, -range, range), type));
    return name;
  }

  integers(values: readonly number[], dims: readonly number[] = [values.length]): string {
    const name = this.name('i');
    this.initializers.push(integers(name, values, dims));
    return name;
  }

  scalar(value: number): string {
    const name = `f${this.count++}`;
    this.initializers.push(weights(name, [], [value]));
    return name;
  }

  floats(values: readonly number[]): string {
    const name = this.name('f');
    this.initializers.push(weights(name, [values.length], values));
    return name;
  }

  /** An operand that was an attribute in old operator sets: Squeeze, Unsqueeze, Slice and Split each moved in their turn. */
  private withAxes(op: 'Squeeze' | 'Unsqueeze', x: string, axes: readonly number[]): string {
    return this.opset < 13 ? this.node(op, [x], { axes }) : this.node(op, [x, this.integers(axes)]);
  }

  squeeze(x: string, ...axes: number[]): string {
    return this.withAxes('Squeeze', x, axes);
  }

  unsqueeze(x: string, ...axes: number[]): string {
    return this.withAxes('Unsqueeze', x, axes);
  }

  slice(x: string, starts: readonly number[], ends: readonly number[], axes: readonly number[]): string {
    if (this.opset < 10) return this.node('Slice', [x], { starts, ends, axes });
    return this.node('Slice', [x, this.integers(starts), this.integers(ends), this.integers(axes)]);
  }

  split(x: string, axis: number, sizes: readonly number[]): string[] {
    const outputs = sizes.map(() => this.name('t'));
    if (this.opset < 13) this.node('Split', [x], { axis, split: sizes }, outputs);
    else this.node('Split', [x, this.integers(sizes)], { axis }, outputs);
    return outputs;
  }

  transpose(x: string, ...perm: number[]): string {
    return this.node('Transpose', [x], { perm });
  }

  reshape(x: string, ...shape: number[]): string {
    return this.node('Reshape', [x, this.integers(shape)]);
  }

  /** Reshape to sizes taken from the tensor itself where `shape` holds null: Shape → Gather → Unsqueeze → Concat. */
  reshapeLike(x: string, shape: readonly (number | null)[]): string {
    const whole = this.node('Shape', [x]);
    const parts = shape.map((size, axis) =>
      size === null
        ? this.unsqueeze(this.node('Gather', [whole, this.integers([axis], [])], { axis: 0 }), 0)
        : this.integers([size]),
    );
    return this.node('Reshape', [x, this.node('Concat', parts, { axis: 0 })]);
  }

  /** MatMul and Add, as a dense layer between others is written. */
  dense(x: string, from: number, to: number): string {
    return this.node('Add', [this.node('MatMul', [x, this.weight([from, to])]), this.weight([to])]);
  }

  recurrent(operator: Operator, x: string, options: LayerOptions, stored = (dims: readonly number[]) => this.weight(dims)) {
    const { hidden, input, direction = 'forward', initialH = '', attributes = {} } = options;
    const gates = gateCounts[operator];
    const d = direction === 'bidirectional' ? 2 : 1;
    const operands = [
      x,
      stored([d, gates * hidden, input]),
      stored([d, gates * hidden, hidden]),
      stored([d, 2 * gates * hidden]),
    ];
    if (initialH !== '') operands.push('', initialH);
    const names = operator === 'LSTM' ? ['y', 'y_h', 'y_c'] : ['y', 'y_h'];
    const outputs = names.map((name) => `${name}${this.count}`);
    this.count++;
    this.node(operator, operands, { hidden_size: hidden, direction, ...attributes }, outputs);
    return { y: outputs[0]!, yH: outputs[1]! };
  }

  /** The graph as the body of an If, Loop or Scan. */
  body(): GraphProto {
    const { inputs, outputs, nodes, initializers } = this;
    return create(GraphProtoSchema, {
      name: `${this.prefix}body`,
      input: inputs,
      output: outputs,
      node: nodes,
      initializer: initializers,
    });
  }

  bytes(): Uint8Array {
    const { opset, inputs, outputs, nodes, initializers } = this;
    return modelBytes({ opset, inputs, outputs, nodes, initializers });
  }
}
