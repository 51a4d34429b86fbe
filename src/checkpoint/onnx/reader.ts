import { BadInputError, type Question } from '../../errors.js';
import type { RecurrentLayer, RecurrentNetwork } from '../../network/network.js';
import { siblingSegments } from '../siblingPath.js';
import { inlineDecidedBranches } from './branches.js';
import { Constants } from './constants.js';
import { replaceLoops } from './loops.js';
import { isStandard, nodeLabel, opsetOf, readModel } from './model.js';
import { raiseOldOpset } from './oldOpsets.js';
import type { GraphProto, ModelProto } from './onnx_pb.js';
import { isRecurrent, readRecurrentNode, type RecurrentNode } from './recurrent.js';
import type { Dim } from './dims.js';
import { Shapes } from './shapes.js';
import { possiblePairs } from './statePairs.js';
import { SignalReader } from './signals.js';
import { withInlineData, type ExternalData } from './tensor.js';

/** An ONNX checkpoint with its recurrent layers read and the rest of the graph kept as it is. */
export interface OnnxCheckpoint {
  readonly model: ModelProto & { graph: GraphProto };
  /** Version of the default operator set that the file declares; the model in memory may declare a newer one that means the same. */
  readonly opset: number;
  readonly constants: Constants;
  readonly shapes: Shapes;
  /** In graph order; entry i belongs to layer i of the network. */
  readonly nodes: readonly RecurrentNode[];
  readonly network: RecurrentNetwork;
}

/**
 * Locations of external data that the model names, for the caller to read before `readCheckpoint`.
 * @throws BadInputError for a location outside the checkpoint's folder
 */
export function externalLocations({ graph }: ModelProto & { graph: GraphProto }): string[] {
  const locations = new Set<string>();
  for (const tensor of graph.initializer) {
    for (const entry of tensor.externalData) if (entry.key === 'location') locations.add(entry.value);
  }
  for (const location of locations) siblingSegments(location);
  return [...locations];
}

const controlFlow: Readonly<Record<string, string>> = {
  Loop: 'a Loop',
  Scan: 'a Scan',
  If: 'an If',
};

/** Says why a model without usable recurrent nodes has none, as precisely as its operators allow. */
function refuseWithoutLayers(graph: GraphProto): never {
  const flow = graph.node.find((node) => isStandard(node) && controlFlow[node.opType] !== undefined);
  if (flow) {
    throw new BadInputError(
      'recurrence-in-control-flow',
      `no RNN, LSTM or GRU node at the top of the graph: what recurs is written as ${controlFlow[flow.opType]} (node ${nodeLabel(flow)}), ` +
        'in which no RNN, LSTM or GRU cell was recognised; export the model with its recurrent layers as ONNX RNN, LSTM or GRU nodes',
    );
  }
  // ONNX's own operators are all written in CamelCase; some exporters leave the domain of a private one empty.
  const foreign = graph.node.find((node) => !isStandard(node) || !/^[A-Z][A-Za-z0-9]*$/.test(node.opType));
  if (foreign) {
    const domain = foreign.domain === '' ? '' : ` of the domain "${foreign.domain}"`;
    throw new BadInputError(
      'unknown-operator',
      `node ${nodeLabel(foreign)}: operator ${foreign.opType}${domain} is not one of ONNX's and is not understood; export the model with standard ONNX operators`,
    );
  }
  const possible = possiblePairs(graph);
  const hint =
    possible.length > 0
      ? `; if its caller feeds an output back to an input, say so with --state ${possible[0]} or in the setting rnnStability.states`
      : ', and no output has the shape of an input that could be its state';
  const question: Question | undefined = possible.length > 0 ? { about: 'states', answers: possible } : undefined;
  throw new BadInputError('no-recurrence', `the model has no RNN, LSTM or GRU node${hint}`, undefined, question);
}

/** @throws BadInputError where the file or a recurrent node in it cannot be used */
export function readOnnx(bytes: Uint8Array, external: ExternalData): OnnxCheckpoint {
  return readCheckpoint(readModel(bytes), external);
}

/** From here on the data is inside: ONNX Runtime gets models as bytes and cannot look for files beside them. */
export function withDataInside(
  model: ModelProto & { graph: GraphProto },
  external: ExternalData,
): ModelProto & { graph: GraphProto } {
  model.graph.initializer = model.graph.initializer.map((tensor) => withInlineData(tensor, external));
  return model;
}

/**
 * The same for a file that is parsed already. The model is taken over, not copied.
 * @param layers `optional`: a model without recurrent nodes is none to refuse, because its state is carried by the caller
 */
export function readCheckpoint(
  model: ModelProto & { graph: GraphProto },
  external: ExternalData,
  layers: 'needed' | 'optional' = 'needed',
): OnnxCheckpoint {
  const { graph } = model;
  const opset = opsetOf(model);
  raiseOldOpset(model);
  withDataInside(model, external);
  inlineDecidedBranches(graph, (g) => new Constants(g, external));
  replaceLoops(graph, opsetOf(model), external);
  const constants = new Constants(graph, external);
  const recurrent = graph.node.filter(isRecurrent);
  if (recurrent.length === 0 && layers === 'needed') refuseWithoutLayers(graph);
  const nodes = recurrent.map((node) => readRecurrentNode(node, constants));
  const shapes = new Shapes(graph, constants);

  const initialized = new Set(graph.initializer.map((t) => t.name));
  const graphInputs = new Set(graph.input.map((i) => i.name).filter((name) => !initialized.has(name)));
  const network = nodes.map((node, index): RecurrentLayer => {
    const axes = timeAndBatch(node, shapes);
    const outside = new Set(axes ? [...axes.time, ...axes.batch].map((atom) => atom.id) : []);
    const layerOf = (name: string) => {
      const below = nodes.findIndex((other, i) => i < index && other.y === name);
      if (below < 0 || !axes) return null;
      const theirs = timeAndBatch(nodes[below]!, shapes);
      const same = theirs && ids(theirs.time) === ids(axes.time) && ids(theirs.batch) === ids(axes.batch);
      return same ? below : null;
    };
    const reader = new SignalReader(constants, shapes, graphInputs, outside, layerOf);
    return {
      name: nodeLabel(node.node),
      kind: node.kind,
      inputSize: node.inputSize,
      hiddenSize: node.hiddenSize,
      directions: node.directions,
      input: reader.read(node.x, node.inputSize),
    };
  });
  return { model, opset, constants, shapes, nodes, network: { layers: network } };
}

function ids(dim: Dim): string {
  return dim.map((atom) => atom.id).join();
}

/** The dimensions of X that are time and batch; null where the shape of X is not known. */
export function timeAndBatch(node: RecurrentNode, shapes: Shapes): { time: Dim; batch: Dim } | null {
  const x = shapes.shape(node.x);
  if (x?.length !== 3) return null;
  return node.layout === 0 ? { time: x[0]!, batch: x[1]! } : { time: x[1]!, batch: x[0]! };
}

/** Ids of the atoms that are time and batch of any layer. */
export function sequenceAtoms({ nodes, shapes }: Pick<OnnxCheckpoint, 'nodes' | 'shapes'>): {
  time: ReadonlySet<number>;
  batch: ReadonlySet<number>;
} {
  const axes = nodes.map((node) => timeAndBatch(node, shapes)).filter((a) => a !== null);
  const collect = (dims: readonly Dim[]) => new Set(dims.flat().map((atom) => atom.id));
  return { time: collect(axes.map((a) => a.time)), batch: collect(axes.map((a) => a.batch)) };
}
