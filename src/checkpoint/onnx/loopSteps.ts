import { create } from '@bufbuild/protobuf';
import { declared, plain, withDimension } from './exposed.js';
import { dimSize } from './dims.js';
import { GraphBuilder } from './graphBuilder.js';
import { bodiesOf, renamed } from './graphs.js';
import { LoopReader, type CarriedState } from './loops.js';
import { isStandard, nodeLabel } from './model.js';
import { GraphProtoSchema, type GraphProto, type NodeProto, type ValueInfoProto } from './onnx_pb.js';
import { isRecurrent } from './recurrent.js';
import { declaredDims, declaredType, freeInputs } from './settings.js';
import { DataType, type ExternalData, type Tensor } from './tensor.js';

/**
 * A Loop or Scan over the sequence whose body is no known cell: one iteration of it, with what it carries as inputs and outputs
 * of the graph. The model is then a streaming model of one frame per time step. What stands in front of the loop and behind
 * it is taken to treat every step by itself, which the caller must see for itself by running both.
 */
export interface SteppedLoop {
  readonly graph: GraphProto;
  /** The loop, for messages. */
  readonly loop: string;
  /** Output by input, for every state. */
  readonly states: Readonly<Record<string, string>>;
  /** First values of the states that do not start from zero. */
  readonly initial: ReadonlyMap<string, Tensor>;
  /** The axis of each input that was the sequence and is one step now. */
  readonly timeAxes: ReadonlyMap<string, number>;
  /** Steps that the model takes; null: any number. */
  readonly length: number | null;
}

/** @returns null without a loop; the reason, in words, where it cannot be run step by step */
export function stepLoop(graph: GraphProto, opset: number, external: ExternalData): SteppedLoop | string | null {
  const loops = graph.node.filter((n) => isStandard(n) && (n.opType === 'Loop' || n.opType === 'Scan'));
  const [node] = loops;
  if (!node) return null;
  const loop = `${node.opType} (node ${nodeLabel(node)})`;
  if (loops.length > 1 || graph.node.some(isRecurrent)) return `${loop} is not the only recurrence of the model`;
  if (bodiesOf(node).some((body) => body.node.some((n) => bodiesOf(n).length > 0))) return `${loop} holds control flow itself`;
  return new LoopStepper(graph, node, loop, opset, external).write();
}

class LoopStepper {
  private readonly reader: LoopReader;
  private readonly g: GraphBuilder;
  /** Names outside for the tensors of the body. */
  private readonly names = new Map<string, string>();
  private readonly inputs: ValueInfoProto[] = [];
  private readonly outputs: ValueInfoProto[] = [];
  private readonly pairs: Record<string, string> = {};
  private readonly initial = new Map<string, Tensor>();
  /** The body's next states with the outputs that give them to the caller. */
  private readonly ends: [string, string][] = [];

  constructor(
    private readonly graph: GraphProto,
    private readonly node: NodeProto,
    private readonly loop: string,
    opset: number,
    external: ExternalData,
  ) {
    this.reader = new LoopReader(graph, node, opset, external);
    this.g = new GraphBuilder(`${nodeLabel(node)}/step`, opset, DataType.FLOAT);
  }

  write(): SteppedLoop | string {
    const { reader, graph, node, loop, g } = this;
    const { body, states, counters, invariants, isScan } = reader;
    for (const name of [...body.node.flatMap((n) => n.output), ...body.initializer.map((t) => t.name)])
      if (name !== '') this.names.set(name, `${nodeLabel(node)}/${name}`);

    const sequences = isScan ? this.scanned() : this.gathered();
    if (sequences.length === 0) return `${loop} does not read a sequence step by step`;
    if (states.length === 0) return `${loop} carries nothing from step to step`;
    if (counters.some((s) => s.final !== '' && reader.isRead(s.final))) return `the number of steps of ${loop} is read behind it`;
    const times = sequences.map((name) => reader.shapes.shape(name)![0]!);
    const timeAxes = this.timeAxes(new Set(times.flat().map((atom) => atom.id)));
    if (timeAxes.size === 0) return `the sequence of ${loop} cannot be followed to an input of the model`;

    for (const s of invariants) this.names.set(s.inner, s.initial);
    if (!isScan) {
      // The only step is the first.
      this.names.set(body.input[0]!.name, g.constant('iteration', [], [0], DataType.INT64));
      this.names.set(body.input[1]!.name, g.constant('condition', [], [1], DataType.BOOL));
      for (const s of counters) this.names.set(s.inner, s.initial);
    }
    if (!states.every((s) => this.carry(s))) return `a state of ${loop} starts from something that is computed`;

    const before = g.nodes.splice(0);
    for (const [next, output] of this.ends) g.node('Identity', [this.outside(next)], [], [output]);
    for (const s of [...states, ...invariants])
      if (s.final !== '' && reader.isRead(s.final)) g.node('Identity', [this.outside(s.next)], [], [s.final]);
    for (const { inner, outer } of reader.stacked)
      if (outer !== '' && reader.isRead(outer)) g.unsqueeze(this.outside(inner), 0, outer);
    const step = [...before, ...body.node.map((n) => renamed(n, (name) => this.outside(name))), ...g.nodes];
    const open = (info: ValueInfoProto) => declaredDims(info).reduce((i, _, axis) => withDimension(i, axis, null), info);
    const stepped = create(GraphProtoSchema, {
      ...plain(graph),
      node: graph.node.flatMap((n) => (n === node ? step : [n])),
      input: [...graph.input.map((info) => withDimension(info, timeAxes.get(info.name) ?? -1, 1)), ...this.inputs],
      output: [...graph.output.map(open), ...this.outputs],
      initializer: [
        ...graph.initializer,
        ...body.initializer.map((t) => ({ ...t, name: this.outside(t.name) })),
        ...g.initializers,
      ],
      valueInfo: [],
    });
    return { graph: stepped, loop, states: this.pairs, initial: this.initial, timeAxes, length: dimSize(times[0]!) };
  }

  private outside(name: string): string {
    return this.names.get(name) ?? name;
  }

  /** What a Scan reads: the tensors of one step are those of the only one. */
  private scanned(): string[] {
    const { reader, node } = this;
    const first = reader.states.length + reader.invariants.length;
    const read = reader.body.input.slice(first).map(({ name }) => ({ name, sequence: reader.sequence(name) }));
    if (read.some(({ sequence }) => sequence === null)) return [];
    read.forEach(({ name }, i) => this.names.set(name, this.g.squeeze(node.input[first + i]!, 0)));
    return read.map(({ sequence }) => sequence!);
  }

  /** What a Loop reads step by step; the Gather itself stays, at position 0. */
  private gathered(): string[] {
    const gathers = this.reader.body.node.filter((n) => n.opType === 'Gather');
    const sequences = gathers.map((n) => this.reader.sequence(n.output[0]!));
    return [...new Set(sequences.filter((name) => name !== null))];
  }

  private timeAxes(atoms: ReadonlySet<number>): Map<string, number> {
    const axes = freeInputs(this.graph).flatMap(({ name }): [string, number][] => {
      const axis = this.reader.shapes.axisOf(name, atoms);
      return axis === null ? [] : [[name, axis]];
    });
    return new Map(axes);
  }

  /** Makes a state an input and an output of the graph; false where its first value is not known. */
  private carry({ inner, next, initial }: CarriedState): boolean {
    const { reader, graph } = this;
    const given = freeInputs(graph).find((info) => info.name === initial);
    const port = reader.body.input.find((info) => info.name === inner)!;
    const value = reader.constants.value(initial);
    if (!given && !value && !reader.constants.isZero(initial)) return false;
    const type = declaredType(port) || value?.type || DataType.FLOAT;
    // The body seldom declares more than the rank; what starts the state has its shape.
    const dims = value?.dims ?? reader.shapes.shape(initial)?.map(dimSize) ?? declaredDims(port);
    const input = given ? initial : `${nodeLabel(this.node)}/${inner}`;
    if (!given) this.inputs.push(declared(input, type, dims));
    if (value?.data.some((v) => v !== 0)) this.initial.set(input, value);
    this.names.set(inner, input);
    const output = `${input}/next`;
    this.pairs[input] = output;
    this.outputs.push(declared(output, type, dims));
    this.ends.push([next, output]);
    return true;
  }
}
