import { create } from '@bufbuild/protobuf';
import {
  AttributeProto_AttributeType as Kind,
  AttributeProtoSchema,
  NodeProtoSchema,
  type AttributeProto,
  type NodeProto,
  type TensorProto,
} from './onnx_pb.js';
import { DataType, tensorProto } from './tensor.js';

/** Collects the nodes and constants that replace a recurrent node, in the dialect of the model's operator set. */
export class GraphBuilder {
  readonly nodes: NodeProto[] = [];
  readonly initializers: TensorProto[] = [];
  private readonly constants = new Map<string, string>();
  private count = 0;

  /**
   * @param prefix in front of every new name
   * @param opset version of the default operator set
   * @param type element type of the floats
   */
  constructor(
    private readonly prefix: string,
    readonly opset: number,
    readonly type: DataType,
  ) {}

  /** A name that no other tensor has. */
  name(hint: string): string {
    return `${this.prefix}/${hint}_${this.count++}`;
  }

  /** A stored constant; the same key gives the same tensor. */
  constant(key: string, dims: readonly number[], data: ArrayLike<number>, type: DataType = this.type): string {
    const known = this.constants.get(key);
    if (known !== undefined) return known;
    const name = `${this.prefix}/${key}`;
    this.initializers.push(tensorProto(name, type, dims, data));
    this.constants.set(key, name);
    return name;
  }

  node(
    opType: string,
    inputs: readonly string[],
    attributes: readonly AttributeProto[] = [],
    outputs: readonly string[] = [this.name(opType.toLowerCase())],
  ): string {
    this.nodes.push(
      create(NodeProtoSchema, {
        opType,
        name: `${this.prefix}/${opType}_${this.count++}`,
        input: [...inputs],
        output: [...outputs],
        attribute: [...attributes],
      }),
    );
    return outputs[0]!;
  }

  /** Add, Sub, Mul or Less; operator sets before 7 broadcast only when asked to. */
  binary(opType: string, a: string, b: string, broadcast = false): string {
    return this.node(opType, [a, b], broadcast && this.opset < 7 ? [intAttribute('broadcast', 1)] : []);
  }

  matMul(a: string, b: string): string {
    return this.node('MatMul', [a, b]);
  }

  transpose(a: string, perm: readonly number[]): string {
    return this.node('Transpose', [a], [intsAttribute('perm', perm)]);
  }

  concat(parts: readonly string[], axis: number, output = this.name('concat')): string {
    return this.node('Concat', parts, [intAttribute('axis', axis)], [output]);
  }

  split(a: string, axis: number, sizes: readonly number[]): string[] {
    if (sizes.length === 1) return [a];
    const outputs = sizes.map(() => this.name('split'));
    if (this.opset >= 13) {
      const lengths = this.constant(
        `sizes_${sizes.join('_').slice(0, 40)}_${sizes.length}`,
        [sizes.length],
        sizes,
        DataType.INT64,
      );
      this.node('Split', [a, lengths], [intAttribute('axis', axis)], outputs);
    } else {
      this.node('Split', [a], [intAttribute('axis', axis), intsAttribute('split', sizes)], outputs);
    }
    return outputs;
  }

  unsqueeze(a: string, axis: number, output = this.name('unsqueeze')): string {
    if (this.opset >= 13)
      return this.node('Unsqueeze', [a, this.constant(`axes_${axis}`, [1], [axis], DataType.INT64)], [], [output]);
    return this.node('Unsqueeze', [a], [intsAttribute('axes', [axis])], [output]);
  }

  squeeze(a: string, axis: number): string {
    if (this.opset >= 13) return this.node('Squeeze', [a, this.constant(`axes_${axis}`, [1], [axis], DataType.INT64)]);
    return this.node('Squeeze', [a], [intsAttribute('axes', [axis])]);
  }

  /** Elements [start, end) along one axis. */
  slice(a: string, axis: number, start: number, end: number, output = this.name('slice')): string {
    if (this.opset < 10) {
      return this.node(
        'Slice',
        [a],
        [intsAttribute('axes', [axis]), intsAttribute('starts', [start]), intsAttribute('ends', [end])],
        [output],
      );
    }
    const list = (key: string, value: number) => this.constant(`${key}_${value}`, [1], [value], DataType.INT64);
    return this.node('Slice', [a, list('index', start), list('index', end), list('axes', axis)], [], [output]);
  }

  reshape(a: string, shape: readonly number[]): string {
    if (this.opset < 5) return this.node('Reshape', [a], [intsAttribute('shape', shape)]);
    return this.node('Reshape', [a, this.constant(`shape_${shape.join('_')}`, [shape.length], shape, DataType.INT64)]);
  }

  clip(a: string, limit: number): string {
    if (limit === Infinity) return a;
    if (this.opset < 11) return this.node('Clip', [a], [floatAttribute('min', -limit), floatAttribute('max', limit)]);
    return this.node('Clip', [a, this.constant('clip_low', [], [-limit]), this.constant('clip_high', [], [limit])]);
  }

  scalar(value: number): string {
    return this.constant(`scalar_${value}`, [1], [value]);
  }
}

export function intAttribute(name: string, value: number): AttributeProto {
  return create(AttributeProtoSchema, { name, type: Kind.INT, i: BigInt(value) });
}

export function intsAttribute(name: string, values: readonly number[]): AttributeProto {
  return create(AttributeProtoSchema, { name, type: Kind.INTS, ints: values.map(BigInt) });
}

export function floatAttribute(name: string, value: number): AttributeProto {
  return create(AttributeProtoSchema, { name, type: Kind.FLOAT, f: value });
}

export function floatsAttribute(name: string, values: readonly number[]): AttributeProto {
  return create(AttributeProtoSchema, { name, type: Kind.FLOATS, floats: [...values] });
}

export function stringsAttribute(name: string, values: readonly string[]): AttributeProto {
  const encoder = new TextEncoder();
  return create(AttributeProtoSchema, { name, type: Kind.STRINGS, strings: values.map((v) => encoder.encode(v)) });
}
