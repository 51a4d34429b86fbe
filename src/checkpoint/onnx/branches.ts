import { create } from '@bufbuild/protobuf';
import type { Constants } from './constants.js';
import { renamed } from './graphs.js';
import { isStandard } from './model.js';
import { NodeProtoSchema, type GraphProto, type NodeProto, type TensorProto } from './onnx_pb.js';

/** Replaces every If whose condition is constant by the branch that it takes, again and again until none is left. */
export function inlineDecidedBranches(graph: GraphProto, constantsOf: (graph: GraphProto) => Constants): void {
  for (;;) {
    const constants = constantsOf(graph);
    let changed = false;
    const taken = namesOf(graph);
    const nodes: NodeProto[] = [];
    for (const node of graph.node) {
      const condition = isStandard(node) && node.opType === 'If' ? constants.value(node.input[0] ?? '') : null;
      const branch =
        condition?.data.length === 1
          ? node.attribute.find((a) => a.name === (condition.data[0] ? 'then_branch' : 'else_branch'))?.g
          : undefined;
      if (!branch || branch.output.length !== node.output.length) {
        nodes.push(node);
        continue;
      }
      changed = true;
      const inlined = inlineBranch(node, branch, taken);
      nodes.push(...inlined.nodes);
      graph.initializer.push(...inlined.initializers);
    }
    graph.node = nodes;
    if (!changed) return;
  }
}

function namesOf(graph: GraphProto): Set<string> {
  const names = new Set([...graph.input.map((i) => i.name), ...graph.initializer.map((t) => t.name)]);
  for (const node of graph.node) for (const output of node.output) names.add(output);
  return names;
}

/** The nodes of a branch under names that are free outside, with the If's outputs as theirs. */
function inlineBranch(node: NodeProto, branch: GraphProto, taken: Set<string>) {
  const made = new Set(branch.node.flatMap((n) => n.output));
  for (const tensor of branch.initializer) made.add(tensor.name);
  const names = new Map<string, string>();
  const identities: NodeProto[] = [];
  branch.output.forEach(({ name }, i) => {
    const outside = node.output[i]!;
    if (outside === '') return;
    const isNode = branch.node.some((n) => n.output.includes(name));
    // A branch may hand on what it only read, or one tensor twice.
    if (isNode && !names.has(name)) names.set(name, outside);
    else
      identities.push(
        create(NodeProtoSchema, { opType: 'Identity', name: `${outside}/Identity`, input: [name], output: [outside] }),
      );
  });
  for (const name of made) {
    if (name === '' || names.has(name)) continue;
    let free = name;
    for (let i = 1; taken.has(free); i++) free = `${name}/${i}`;
    taken.add(free);
    names.set(name, free);
  }
  const rename = (name: string) => names.get(name) ?? name;
  const initializers: TensorProto[] = branch.initializer.map((t) => ({ ...t, name: rename(t.name) }));
  const nodes = branch.node.map((n) => renamed(n, rename));
  return { nodes: [...nodes, ...identities.map((n) => ({ ...n, input: n.input.map(rename) }))], initializers };
}
