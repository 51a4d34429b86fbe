import { create } from '@bufbuild/protobuf';
import { AffineReader } from './affine.js';
import { recurrentNode } from './cellNodes.js';
import { CellPatterns, type FoundCell } from './cellPatterns.js';
import { Constants } from './constants.js';
import { dimSize } from './dims.js';
import { plain } from './exposed.js';
import { GraphBuilder } from './graphBuilder.js';
import { pruned, readsOf } from './graphs.js';
import { carriedFrom, rootsOf } from './movement.js';
import { NodeProtoSchema, type GraphProto, type NodeProto } from './onnx_pb.js';
import { Shapes } from './shapes.js';
import { possibleStateInputs, type StateSettings } from './statePairs.js';
import { DataType, type ExternalData } from './tensor.js';

/**
 * Cells of a streaming model that were unrolled into products and sums: each is replaced by the recurrent node that
 * computes the same step, and everything that knows recurrent nodes knows them too.
 */
export function replaceUnrolledCells(
  graph: GraphProto,
  opset: number,
  states: StateSettings,
  external: ExternalData,
): GraphProto {
  const constants = new Constants(graph, external);
  const shapes = new Shapes(graph, constants);
  const producer = (name: string) => constants.producer(name);
  const dims = (name: string) => shapes.shape(name)?.map(dimSize) ?? null;
  const affine = new AffineReader(producer, constants, dims);
  const possible = possibleStateInputs(graph, states);
  const isState = (name: string) => {
    const roots = [...rootsOf(producer, name)];
    return roots.length > 0 && roots.every((root) => possible.has(root));
  };
  const patterns = new CellPatterns(producer, constants, affine, isState);
  const outputs = new Set(graph.output.map((o) => o.name));
  /** A new state must be handed back, or it is only something that looks like one. */
  const isReturned = (name: string) => [...carriedFrom(graph, name).tensors].some((t) => outputs.has(t));
  const isMatrix = (name: string) => dims(name)?.length === 2 && dims(name)!.every((d) => d !== null);

  const cells: FoundCell[] = [];
  for (const node of graph.node) {
    // A cell ends where its state is computed, not where that is passed on.
    const cell =
      node.output.length === 1 && node.opType !== 'Identity' && node.opType !== 'Dropout'
        ? patterns.match(node.output[0]!)
        : null;
    if (!cell || !isReturned(cell.nextH) || (cell.nextC !== null && !isReturned(cell.nextC))) continue;
    const tensors = [cell.x, cell.h, cell.nextH, ...(cell.c === null ? [] : [cell.c, cell.nextC!])];
    if (tensors.every(isMatrix)) cells.push(cell);
  }
  if (cells.length === 0) return graph;

  const replaced = new Map<string, string>();
  const nodes: NodeProto[] = [];
  const initializers = [...graph.initializer];
  const type = (graph.initializer.find((t) => t.dataType === DataType.DOUBLE || t.dataType === DataType.FLOAT)?.dataType ??
    DataType.FLOAT) as DataType;
  for (const cell of cells) {
    const g = new GraphBuilder(`${cell.nextH}/${cell.kind}`, opset, type);
    const step = (name: string) => g.unsqueeze(name, 0);
    // Exporters name a cell's tensors after the layer: its path is the best name there is.
    const label = cell.nextH.includes('/') ? cell.nextH.slice(0, cell.nextH.lastIndexOf('/')) : cell.nextH;
    const { y, yC } = recurrentNode(g, label, cell, step(cell.x), step(cell.h), cell.c === null ? null : step(cell.c));
    g.node('Identity', [g.squeeze(g.squeeze(y, 1), 0)], [], [cell.nextH]);
    replaced.set(cell.nextH, `${cell.nextH}/unrolled`);
    if (cell.nextC !== null) {
      g.node('Identity', [g.squeeze(yC, 0)], [], [cell.nextC]);
      replaced.set(cell.nextC, `${cell.nextC}/unrolled`);
    }
    nodes.push(...g.nodes);
    initializers.push(...g.initializers);
  }
  // What made the states before keeps its place under a name that only itself reads, and falls away.
  const own = graph.node.map((n) => create(NodeProtoSchema, { ...plain(n), output: n.output.map((o) => replaced.get(o) ?? o) }));
  return pruned({ ...graph, node: inOrder([...own, ...nodes]), initializer: initializers });
}

/** Nodes in an order of computation, as near to the given one as can be. */
export function inOrder(nodes: readonly NodeProto[]): NodeProto[] {
  const makers = new Map(nodes.flatMap((n) => n.output.filter((o) => o !== '').map((o) => [o, n] as const)));
  const done = new Set<NodeProto>();
  const ordered: NodeProto[] = [];
  const visit = (start: NodeProto) => {
    // Depth first without recursion: unrolled graphs are deep.
    const stack: { node: NodeProto; open: NodeProto[] }[] = [];
    const enter = (node: NodeProto) => {
      done.add(node);
      stack.push({ node, open: readsOf(node).flatMap((name) => makers.get(name) ?? []) });
    };
    enter(start);
    while (stack.length > 0) {
      const top = stack[stack.length - 1]!;
      const next = top.open.shift();
      if (!next) ordered.push(stack.pop()!.node);
      else if (!done.has(next)) enter(next);
    }
  };
  for (const node of nodes) if (!done.has(node)) visit(node);
  return ordered;
}
