import { create } from '@bufbuild/protobuf';
import { writeModel } from '../../src/checkpoint/onnx/model.js';
import {
  AttributeProto_AttributeType as Kind,
  AttributeProtoSchema,
  GraphProtoSchema,
  ModelProtoSchema,
  NodeProtoSchema,
  OperatorSetIdProtoSchema,
  StringStringEntryProtoSchema,
  TensorShapeProto_DimensionSchema,
  TensorShapeProtoSchema,
  TypeProto_TensorSchema,
  TypeProtoSchema,
  ValueInfoProtoSchema,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from '../../src/checkpoint/onnx/onnx_pb.js';
import { DataType, tensorProto } from '../../src/checkpoint/onnx/tensor.js';
import type { RecurrentModel } from './recurrent.js';

export interface Port {
  readonly name: string;
  readonly type: DataType;
  /** Strings are symbolic dimensions. */
  readonly dims: readonly (string | number)[];
}

export interface Description {
  readonly name: string;
  readonly task: string;
  readonly input: Port;
  readonly output: Port;
  /** Rows are the embeddings of the tokens; absent: the input is read as it is. */
  readonly embedding?: { readonly rows: number; readonly data: Float32Array };
  readonly activation?: 'Sigmoid' | 'Softmax';
  /** Answer after the last step only, not after each. */
  readonly lastStep?: boolean;
  readonly metadata?: Readonly<Record<string, string>>;
}

function port({ name, type, dims }: Port): ValueInfoProto {
  const dim = dims.map((d) =>
    create(TensorShapeProto_DimensionSchema, {
      value: typeof d === 'string' ? { case: 'dimParam', value: d } : { case: 'dimValue', value: BigInt(d) },
    }),
  );
  const tensor = create(TypeProto_TensorSchema, { elemType: type, shape: create(TensorShapeProtoSchema, { dim }) });
  return create(ValueInfoProtoSchema, { name, type: create(TypeProtoSchema, { value: { case: 'tensorType', value: tensor } }) });
}

type Attributes = Readonly<Record<string, number | readonly number[]>>;

function node(opType: string, name: string, input: string[], output: string, attributes: Attributes = {}): NodeProto {
  const attribute = Object.entries(attributes).map(([key, value]) =>
    typeof value === 'number'
      ? create(AttributeProtoSchema, { name: key, type: Kind.INT, i: BigInt(value) })
      : create(AttributeProtoSchema, { name: key, type: Kind.INTS, ints: value.map(BigInt) }),
  );
  return create(NodeProtoSchema, { opType, name, input, output: [output], attribute });
}

/** W, R and B = [Wb, Rb] of the layer, with ONNX's leading axis of directions. */
function layerWeights(model: RecurrentModel): TensorProto[] {
  const { input, hidden } = model.sizes;
  const rows = model.input.shape[0];
  const joined = model.input.dataSync();
  const w = new Float32Array(rows * input);
  const b = new Float32Array(2 * rows);
  for (let r = 0; r < rows; r++) {
    w.set(joined.subarray(r * (input + 1), r * (input + 1) + input), r * input);
    b[r] = joined[r * (input + 1) + input]!;
  }
  if (model.candidateBias) b.set(model.candidateBias.dataSync(), 2 * rows - hidden);
  return [
    tensorProto('layer.W', DataType.FLOAT, [1, rows, input], w),
    tensorProto('layer.R', DataType.FLOAT, [1, rows, hidden], model.recurrent.dataSync()),
    tensorProto('layer.B', DataType.FLOAT, [1, 2 * rows], b),
  ];
}

/** The graph that exporters write for a batch-first recurrent layer with a dense head; operator set 17. */
export function onnxModel(model: RecurrentModel, d: Description): Uint8Array {
  const { hidden, output } = model.sizes;
  const nodes: NodeProto[] = [];
  const constants: TensorProto[] = [];
  const add = (opType: string, name: string, inputs: string[], attributes?: Attributes, result = `${name}.out`) => {
    nodes.push(node(opType, name, inputs, result, attributes));
    return result;
  };
  const constant = (tensor: TensorProto) => {
    constants.push(tensor);
    return tensor.name;
  };

  let x = d.input.name;
  if (d.embedding) {
    const { rows, data } = d.embedding;
    const table = constant(tensorProto('embedding.table', DataType.FLOAT, [rows, data.length / rows], data));
    x = add('Gather', 'embedding', [table, x], { axis: 0 });
  }
  x = add('Transpose', 'time_first', [x], { perm: [1, 0, 2] });
  const weights = layerWeights(model).map(constant);
  const attributes: Attributes = { hidden_size: hidden, ...(model.kind === 'gru' ? { linear_before_reset: 1 } : {}) };
  x = add(model.kind.toUpperCase(), model.kind, [x, ...weights], attributes);
  x = add('Squeeze', 'drop_direction', [x, constant(tensorProto('direction_axis', DataType.INT64, [1], [1]))]);
  x = add('Transpose', 'batch_first', [x], { perm: [1, 0, 2] });
  if (d.lastStep) x = add('Gather', 'last_step', [x, constant(tensorProto('last_index', DataType.INT64, [], [-1]))], { axis: 1 });
  const kernel = constant(tensorProto('head.kernel', DataType.FLOAT, [hidden, output], model.head.dataSync()));
  x = add('MatMul', 'head_product', [x, kernel]);
  const bias = constant(tensorProto('head.bias', DataType.FLOAT, [output], model.headBias.dataSync()));
  x = add('Add', 'head', [x, bias], {}, d.activation ? 'head.out' : d.output.name);
  if (d.activation)
    add(d.activation, d.activation.toLowerCase(), [x], d.activation === 'Softmax' ? { axis: -1 } : {}, d.output.name);

  return writeModel(
    create(ModelProtoSchema, {
      irVersion: 8n,
      producerName: 'rnn-stability-examples',
      opsetImport: [create(OperatorSetIdProtoSchema, { domain: '', version: 17n })],
      docString: d.task,
      metadataProps: Object.entries(d.metadata ?? {}).map(([key, value]) => create(StringStringEntryProtoSchema, { key, value })),
      graph: create(GraphProtoSchema, {
        name: d.name,
        node: nodes,
        initializer: constants,
        input: [port(d.input)],
        output: [port(d.output)],
      }),
    }),
  );
}
