import { create } from '@bufbuild/protobuf';
import { plain } from './exposed.js';
import { AttributeProtoSchema, GraphProtoSchema, NodeProtoSchema, type GraphProto, type NodeProto } from './onnx_pb.js';

/** What a node reads and what a graph needs, with the bodies of If, Loop and Scan counted in. */

/** The bodies of a control-flow node; empty for every other node. */
export function bodiesOf(node: NodeProto): GraphProto[] {
  return node.attribute.flatMap((a) => (a.g ? [a.g, ...a.graphs] : a.graphs));
}

/** Names that a body reads from the graph around it, at any depth. */
function capturesOf(body: GraphProto): string[] {
  const own = new Set<string>([...body.input.map((i) => i.name), ...body.initializer.map((t) => t.name)]);
  for (const node of body.node) for (const output of node.output) own.add(output);
  const read = [...body.node.flatMap(readsOf), ...body.output.map((o) => o.name)];
  return read.filter((name) => name !== '' && !own.has(name));
}

/** Every tensor that a node reads: its inputs, and what its bodies take from outside. */
export function readsOf(node: NodeProto): string[] {
  return [...node.input.filter((name) => name !== ''), ...bodiesOf(node).flatMap(capturesOf)];
}

/** The nodes that the tensors need, in their order. */
export function liveNodes(nodes: readonly NodeProto[], tensors: readonly string[]): NodeProto[] {
  const needed = new Set(tensors);
  const alive = new Set<NodeProto>();
  for (let i = nodes.length - 1; i >= 0; i--) {
    const node = nodes[i]!;
    if (!node.output.some((o) => needed.has(o))) continue;
    alive.add(node);
    for (const name of readsOf(node)) needed.add(name);
  }
  return nodes.filter((node) => alive.has(node));
}

/** The graph without nodes and initializers that its outputs do not need. Inputs stay: they are its interface. */
export function pruned(graph: GraphProto): GraphProto {
  const node = liveNodes(
    graph.node,
    graph.output.map((o) => o.name),
  );
  const read = new Set([...node.flatMap(readsOf), ...graph.output.map((o) => o.name)]);
  return create(GraphProtoSchema, { ...plain(graph), node, initializer: graph.initializer.filter((t) => read.has(t.name)) });
}

/** The graph without Identity nodes, apart from those that give an output its name. */
export function withoutIdentities(graph: GraphProto): GraphProto {
  const kept = new Set(graph.output.map((o) => o.name));
  const source = new Map<string, string>();
  const node: NodeProto[] = [];
  const rename = (name: string) => source.get(name) ?? name;
  for (const n of graph.node) {
    const [input, output] = [n.input[0], n.output[0]!];
    if (n.opType === 'Identity' && n.domain === '' && input !== undefined && !kept.has(output)) source.set(output, rename(input));
    else node.push(renamed(n, rename));
  }
  return create(GraphProtoSchema, { ...plain(graph), node });
}

/** The tensors that follow from `sources`, the sources among them. Nodes are in the order of computation. */
export function dependents(nodes: readonly NodeProto[], sources: Iterable<string>): Set<string> {
  const found = new Set(sources);
  for (const node of nodes) {
    if (readsOf(node).some((name) => found.has(name))) for (const output of node.output) if (output !== '') found.add(output);
  }
  return found;
}

/** A copy of a node with its tensors renamed, inside its bodies too. Names that a body makes itself are renamed with the rest. */
export function renamed(node: NodeProto, rename: (name: string) => string): NodeProto {
  const name = (n: string) => (n === '' ? '' : rename(n));
  return create(NodeProtoSchema, {
    ...plain(node),
    input: node.input.map(name),
    output: node.output.map(name),
    attribute: node.attribute.map((a) =>
      a.g || a.graphs.length > 0
        ? create(AttributeProtoSchema, {
            ...plain(a),
            ...(a.g ? { g: renamedGraph(a.g, rename) } : {}),
            graphs: a.graphs.map((g) => renamedGraph(g, rename)),
          })
        : a,
    ),
  });
}

function renamedGraph(graph: GraphProto, rename: (name: string) => string): GraphProto {
  const port = <T extends { name: string }>(p: T): T => ({ ...p, name: rename(p.name) });
  return create(GraphProtoSchema, {
    ...plain(graph),
    node: graph.node.map((n) => renamed(n, rename)),
    input: graph.input.map(port),
    output: graph.output.map(port),
    initializer: graph.initializer.map(port),
    valueInfo: [],
  });
}
