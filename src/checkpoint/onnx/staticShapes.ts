import { create } from '@bufbuild/protobuf';
import type { InferenceRuntime } from '../../runtime/inference.js';
import { inlineDecidedBranches } from './branches.js';
import { Constants } from './constants.js';
import { declared, plain, withDimension } from './exposed.js';
import { liveNodes, pruned, readsOf } from './graphs.js';
import { isStandard, writeModel, type ModelProtoWithGraph } from './model.js';
import {
  GraphProtoSchema,
  ModelProtoSchema,
  NodeProtoSchema,
  ValueInfoProtoSchema,
  type GraphProto,
  type NodeProto,
} from './onnx_pb.js';
import { declaredDims, declaredType, freeInputs } from './settings.js';
import { elementCount, isFloat, tensorProto, type Tensor } from './tensor.js';

/*
 * A model whose inputs have fixed sizes, simplified by what follows from them: arithmetic on shapes becomes constants,
 * an If that asks about shapes becomes its branch, and every tensor's shape is declared. ONNX Runtime itself is asked, by
 * running the model once, so that no shape rule of any operator has to be written a second time.
 */
/** Larger stored tensors are weights; what is made of them is not arithmetic on shapes. */
const largestFolded = 4096;

/** Sets the sizes of the inputs; those of outputs follow and are left open. */
export function withInputShapes(model: ModelProtoWithGraph, shapes: ReadonlyMap<string, readonly number[]>): ModelProtoWithGraph {
  if (shapes.size === 0) return model;
  const input = model.graph.input.map((info) =>
    (shapes.get(info.name) ?? []).reduce((changed, size, axis) => withDimension(changed, axis, size), info),
  );
  const output = model.graph.output.map((info) =>
    declaredDims(info).reduce((changed, _, axis) => withDimension(changed, axis, null), info),
  );
  return withGraph(model, { input, output, valueInfo: [] });
}

export function withGraph(model: ModelProtoWithGraph, changes: Partial<GraphProto>): ModelProtoWithGraph {
  const graph = create(GraphProtoSchema, { ...plain(model.graph), ...changes });
  return Object.assign(create(ModelProtoSchema, { ...plain(model), graph }), { graph });
}

/** Zeros for every input, whose sizes are all fixed. */
export function zeroFeeds(graph: GraphProto): Map<string, Tensor> {
  return new Map(
    freeInputs(graph).map((info) => {
      const dims = declaredDims(info).map((d) => d ?? 1);
      return [info.name, { type: declaredType(info), dims, data: new Float64Array(elementCount(dims)) }];
    }),
  );
}

/** Values of tensors, from one run on zeros. */
async function evaluate(
  model: ModelProtoWithGraph,
  names: readonly string[],
  runtime: InferenceRuntime,
): Promise<Map<string, Tensor>> {
  const output = names.map((name) => create(ValueInfoProtoSchema, { name }));
  const part = withGraph(model, { output });
  const session = await runtime.load(writeModel(withGraph(part, pruned(part.graph))));
  try {
    return await session.run(zeroFeeds(part.graph));
  } finally {
    await session.release();
  }
}

/** Tensors that follow from shapes and small constants alone, where the rest of the graph reads them. */
function foldableTensors(graph: GraphProto): string[] {
  /** Largest stored tensor that a known tensor is made of. */
  const known = new Map<string, number>(graph.initializer.map((t) => [t.name, elementCount(t.dims.map(Number))]));
  for (const node of graph.node) {
    const shapeOnly = isStandard(node) && (node.opType === 'Shape' || node.opType === 'Size');
    const sizes = readsOf(node).map((name) => known.get(name));
    const random = /^(Random|Multinomial|Bernoulli)/.test(node.opType);
    if (!isStandard(node) || random || (!shapeOnly && sizes.includes(undefined))) continue;
    const stored = node.attribute.reduce((n, a) => Math.max(n, a.t ? elementCount(a.t.dims.map(Number)) : 0), 0);
    const size = shapeOnly ? 0 : Math.max(stored, ...(sizes as number[]));
    for (const output of node.output) known.set(output, size);
  }
  const constant = new Set(graph.node.filter((n) => n.opType === 'Constant').flatMap((n) => n.output));
  const stored = new Set(graph.initializer.map((t) => t.name));
  const wanted = new Set<string>();
  for (const node of graph.node) {
    const open = node.opType === 'If' || !node.output.every((o) => known.has(o));
    if (!open) continue;
    for (const name of readsOf(node)) {
      const size = known.get(name);
      if (size !== undefined && size <= largestFolded && !constant.has(name) && !stored.has(name)) wanted.add(name);
    }
  }
  return [...wanted];
}

/** @throws Error with ONNX Runtime's message where the model does not run at these sizes */
export async function withStaticShapes(
  model: ModelProtoWithGraph,
  shapes: ReadonlyMap<string, readonly number[]>,
  runtime: InferenceRuntime,
): Promise<ModelProtoWithGraph> {
  let fixed = withInputShapes(model, shapes);
  const evaluated = new Set<string>();
  for (;;) {
    inlineDecidedBranches(fixed.graph, (graph) => new Constants(graph, new Map()));
    const names = foldableTensors(fixed.graph).filter((name) => !evaluated.has(name));
    if (names.length === 0) break;
    names.forEach((name) => evaluated.add(name));
    const values = await evaluate(fixed, names, runtime);
    const folded = [...values].filter(([, t]) => !isFloat(t.type) && t.data.length <= largestFolded);
    fixed = withConstants(fixed, new Map(folded));
  }
  return withShapesDeclared(withGraph(fixed, pruned(fixed.graph)), runtime);
}

/** Tensors replaced by stored values; what made them is left with a name that nobody reads. */
function withConstants(model: ModelProtoWithGraph, values: ReadonlyMap<string, Tensor>): ModelProtoWithGraph {
  const { graph } = model;
  const node = graph.node.map((n) =>
    n.output.some((o) => values.has(o))
      ? create(NodeProtoSchema, { ...plain(n), output: n.output.map((o) => (values.has(o) ? `${o}/folded` : o)) })
      : n,
  );
  const stored = [...values].map(([name, t]) => tensorProto(name, t.type, t.dims, t.data));
  return withGraph(model, { node, initializer: [...graph.initializer, ...stored] });
}

/** Declares the shape of every tensor as a run shows it. */
async function withShapesDeclared(model: ModelProtoWithGraph, runtime: InferenceRuntime): Promise<ModelProtoWithGraph> {
  const { graph } = model;
  const names = liveNodes(
    graph.node,
    graph.output.map((o) => o.name),
  ).flatMap((n: NodeProto) => n.output.filter((o) => o !== ''));
  const values = await evaluate(model, names, runtime);
  const info = (name: string, tensor: Tensor) => declared(name, tensor.type, tensor.dims);
  return withGraph(model, {
    valueInfo: [...values].map(([name, tensor]) => info(name, tensor)),
    output: graph.output.map((o) => (values.has(o.name) ? info(o.name, values.get(o.name)!) : o)),
  });
}
