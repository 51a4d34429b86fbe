import { create } from '@bufbuild/protobuf';
import { writeModel } from '../../src/checkpoint/onnx/model.js';
import {
  AttributeProto_AttributeType as Kind,
  AttributeProtoSchema,
  GraphProtoSchema,
  ModelProtoSchema,
  NodeProtoSchema,
  OperatorSetIdProtoSchema,
  TensorShapeProto_DimensionSchema,
  TensorShapeProtoSchema,
  TypeProto_TensorSchema,
  TypeProtoSchema,
  ValueInfoProtoSchema,
  type AttributeProto,
  type GraphProto,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from '../../src/checkpoint/onnx/onnx_pb.js';
import { DataType, tensorProto } from '../../src/checkpoint/onnx/tensor.js';

/** Small ONNX models from plain values: what an exporter would write, without one. */

export type AttributeValue = number | string | readonly number[] | readonly string[] | TensorProto | GraphProto;
export type Attributes = Readonly<Record<string, AttributeValue | undefined>>;
/** Sizes, or names of symbolic sizes. */
export type Dims = readonly (number | string)[];

/** Numbers are integers in ONNX's attributes, except in these. */
const floatAttributes = new Set(['activation_alpha', 'activation_beta', 'alpha', 'beta', 'clip', 'epsilon', 'value_float']);

function attribute(name: string, value: AttributeValue): AttributeProto {
  const encode = (s: string) => new TextEncoder().encode(s);
  const float = floatAttributes.has(name);
  if (typeof value === 'string') return create(AttributeProtoSchema, { name, type: Kind.STRING, s: encode(value) });
  if (typeof value === 'number') {
    if (float) return create(AttributeProtoSchema, { name, type: Kind.FLOAT, f: value });
    return create(AttributeProtoSchema, { name, type: Kind.INT, i: BigInt(value) });
  }
  if ('$typeName' in value && value.$typeName === GraphProtoSchema.typeName)
    return create(AttributeProtoSchema, { name, type: Kind.GRAPH, g: value as GraphProto });
  if ('$typeName' in value) return create(AttributeProtoSchema, { name, type: Kind.TENSOR, t: value as TensorProto });
  if (value.length > 0 && typeof value[0] === 'string')
    return create(AttributeProtoSchema, { name, type: Kind.STRINGS, strings: (value as readonly string[]).map(encode) });
  const numbers = value as readonly number[];
  if (float) return create(AttributeProtoSchema, { name, type: Kind.FLOATS, floats: [...numbers] });
  return create(AttributeProtoSchema, { name, type: Kind.INTS, ints: numbers.map(BigInt) });
}

export function node(
  opType: string,
  input: readonly string[],
  output: readonly string[],
  attributes: Attributes = {},
  domain = '',
): NodeProto {
  return create(NodeProtoSchema, {
    opType,
    domain,
    name: `${opType}_${output.find((o) => o !== '') ?? ''}`,
    input: [...input],
    output: [...output],
    attribute: Object.entries(attributes).flatMap(([name, value]) => (value === undefined ? [] : [attribute(name, value)])),
  });
}

export function port(name: string, dims: Dims, type: DataType = DataType.FLOAT): ValueInfoProto {
  const dim = dims.map((d) =>
    create(TensorShapeProto_DimensionSchema, {
      value: typeof d === 'string' ? { case: 'dimParam', value: d } : { case: 'dimValue', value: BigInt(d) },
    }),
  );
  const tensor = create(TypeProto_TensorSchema, { elemType: type, shape: create(TensorShapeProtoSchema, { dim }) });
  return create(ValueInfoProtoSchema, { name, type: create(TypeProtoSchema, { value: { case: 'tensorType', value: tensor } }) });
}

export function weights(name: string, dims: readonly number[], data: ArrayLike<number>, type: DataType = DataType.FLOAT) {
  return tensorProto(name, type, dims, data);
}

export function integers(name: string, values: readonly number[], dims: readonly number[] = [values.length]) {
  return tensorProto(name, DataType.INT64, dims, values);
}

export interface ModelParts {
  readonly opset: number;
  readonly inputs: readonly ValueInfoProto[];
  readonly outputs: readonly ValueInfoProto[];
  readonly nodes: readonly NodeProto[];
  readonly initializers?: readonly TensorProto[];
}

/** The IR version that came with an operator set; ONNX Runtime and the checker refuse newer sets in older files. */
function irVersion(opset: number): bigint {
  if (opset < 9) return 3n;
  return opset < 10 ? 4n : opset < 11 ? 5n : opset < 13 ? 6n : opset < 15 ? 7n : opset < 19 ? 8n : opset < 21 ? 9n : 10n;
}

export function modelBytes({ opset, inputs, outputs, nodes, initializers = [] }: ModelParts): Uint8Array {
  const ir = irVersion(opset);
  // Before IR version 4 initializers had to be inputs as well.
  const listed = ir < 4n ? initializers.map((t) => port(t.name, t.dims.map(Number), t.dataType)) : [];
  const graph = create(GraphProtoSchema, {
    name: 'test',
    node: [...nodes],
    input: [...inputs, ...listed],
    output: [...outputs],
    initializer: [...initializers],
  });
  return writeModel(
    create(ModelProtoSchema, {
      irVersion: ir,
      producerName: 'test',
      opsetImport: [create(OperatorSetIdProtoSchema, { domain: '', version: BigInt(opset) })],
      graph,
    }),
  );
}
