import { create } from '@bufbuild/protobuf';
import {
  GraphProtoSchema,
  ModelProtoSchema,
  TensorShapeProto_DimensionSchema,
  TensorShapeProtoSchema,
  TypeProto_TensorSchema,
  TypeProtoSchema,
  ValueInfoProtoSchema,
  type GraphProto,
  type ModelProto,
  type ValueInfoProto,
} from './onnx_pb.js';

/** The model with further tensors as outputs, for looking inside it; weights are shared with the original, not copied. */
export function withOutputs(model: ModelProto & { graph: GraphProto }, names: readonly string[]): ModelProto {
  const present = new Set(model.graph.output.map((o) => o.name));
  const added = names.filter((name) => !present.has(name)).map((name) => create(ValueInfoProtoSchema, { name }));
  const graph = create(GraphProtoSchema, { ...plain(model.graph), output: [...model.graph.output, ...added] });
  return create(ModelProtoSchema, { ...plain(model), graph });
}

/** @param dims null: of any size; absent: of any shape */
export function declared(name: string, elemType: number, dims?: readonly (number | null)[]): ValueInfoProto {
  const dim = dims?.map((d) =>
    create(TensorShapeProto_DimensionSchema, d === null ? {} : { value: { case: 'dimValue', value: BigInt(d) } }),
  );
  const shape = dim && create(TensorShapeProtoSchema, { dim });
  const tensor = create(TypeProto_TensorSchema, { elemType, ...(shape ? { shape } : {}) });
  return create(ValueInfoProtoSchema, { name, type: create(TypeProtoSchema, { value: { case: 'tensorType', value: tensor } }) });
}

/** A declared tensor with one dimension changed; null: of any size. What declares no shape stays as it is. */
export function withDimension(info: ValueInfoProto, axis: number, size: number | null): ValueInfoProto {
  const type = info.type?.value;
  if (type?.case !== 'tensorType' || !type.value.shape) return info;
  const changed = create(
    TensorShapeProto_DimensionSchema,
    size === null ? {} : { value: { case: 'dimValue', value: BigInt(size) } },
  );
  const dim = type.value.shape.dim.map((d, i) => (i === axis ? changed : d));
  const value = create(TypeProto_TensorSchema, { ...plain(type.value), shape: create(TensorShapeProtoSchema, { dim }) });
  return create(ValueInfoProtoSchema, {
    ...plain(info),
    type: create(TypeProtoSchema, { value: { case: 'tensorType', value } }),
  });
}

/** A message's fields without its type name, as `create` takes them; unknown fields stay. */
export function plain<T extends { $typeName: string }>(message: T): Omit<T, '$typeName'> {
  const { $typeName: _, ...fields } = message;
  return fields;
}
