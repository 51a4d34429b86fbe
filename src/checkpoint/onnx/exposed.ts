import { create } from '@bufbuild/protobuf';
import { GraphProtoSchema, ModelProtoSchema, ValueInfoProtoSchema, type GraphProto, type ModelProto } from './onnx_pb.js';

/** The model with further tensors as outputs, for looking inside it; weights are shared with the original, not copied. */
export function withOutputs(model: ModelProto & { graph: GraphProto }, names: readonly string[]): ModelProto {
  const present = new Set(model.graph.output.map((o) => o.name));
  const added = names.filter((name) => !present.has(name)).map((name) => create(ValueInfoProtoSchema, { name }));
  const graph = create(GraphProtoSchema, { ...plain(model.graph), output: [...model.graph.output, ...added] });
  return create(ModelProtoSchema, { ...plain(model), graph });
}

/** A message's fields without its type name, as `create` takes them; unknown fields stay. */
export function plain<T extends { $typeName: string }>(message: T): Omit<T, '$typeName'> {
  const { $typeName: _, ...fields } = message;
  return fields;
}
