import { isStandard } from './model.js';
import { words } from './operators.js';
import type { GraphProto, NodeProto } from './onnx_pb.js';
import { isRecurrent } from './recurrent.js';

/** Where values are carried unchanged: through operators that only move, cut or join tensors. */

const moving = words('Cast Dropout Expand Flatten Gather Identity Reshape Slice Split Squeeze Tile Transpose Unsqueeze');

/** Inputs of a node whose values its outputs hold unchanged; empty where it computes new ones. */
export function movedInputs(node: NodeProto): string[] {
  if (!isStandard(node)) return [];
  if (moving.has(node.opType)) return node.input.slice(0, 1);
  if (node.opType === 'Concat') return [...node.input];
  if (node.opType === 'ScatterND' || node.opType === 'ScatterElements') return [node.input[0]!, node.input[2]!];
  if (node.opType === 'Where') return node.input.slice(1, 3);
  return [];
}

/** Graph inputs whose values a tensor holds, and nothing else's. */
export function rootsOf(producer: (name: string) => NodeProto | undefined, name: string): Set<string> {
  const roots = new Set<string>();
  const visit = (tensor: string) => {
    const node = producer(tensor);
    if (!node) roots.add(tensor);
    else movedInputs(node).forEach(visit);
  };
  visit(name);
  return roots;
}

/** How a state passes through the graph: what it is the start of, and which tensors carry it on. */
export interface Carried {
  readonly tensors: ReadonlySet<string>;
  /** Recurrent nodes that start from it, as hidden or as cell state. */
  readonly hidden: readonly NodeProto[];
  readonly cell: readonly NodeProto[];
  /** True where it is joined with fresh values or overwritten in part, as a cache of past inputs is. */
  readonly joined: boolean;
}

/** Follows a tensor forward through moves and through the states of recurrent nodes. */
export function carriedFrom(graph: GraphProto, name: string): Carried {
  const tensors = new Set([name]);
  const hidden: NodeProto[] = [];
  const cell: NodeProto[] = [];
  let joined = false;
  for (const node of graph.node) {
    const add = (...outputs: readonly (string | undefined)[]) => outputs.forEach((o) => o && tensors.add(o));
    if (isRecurrent(node)) {
      const [y, yH, yC] = node.output;
      const isHidden = tensors.has(node.input[5] ?? '');
      const isCell = tensors.has(node.input[6] ?? '');
      if (isHidden) hidden.push(node);
      if (isCell) cell.push(node);
      if (isHidden) add(y, yH);
      if (isCell) add(yC);
      continue;
    }
    const moved = movedInputs(node);
    if (!moved.some((input) => tensors.has(input))) continue;
    if (moved.length > 1 && moved.some((input) => !tensors.has(input))) joined = true;
    add(...node.output);
  }
  return { tensors, hidden, cell, joined };
}
