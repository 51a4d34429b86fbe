import { create } from '@bufbuild/protobuf';
import { AffineReader } from './affine.js';
import { intAttribute, intsAttribute } from './attributes.js';
import { recurrentNode } from './cellNodes.js';
import { CellPatterns, type FoundCell } from './cellPatterns.js';
import { Constants } from './constants.js';
import { dimSize } from './dims.js';
import { plain } from './exposed.js';
import { GraphBuilder } from './graphBuilder.js';
import { readsOf } from './graphs.js';
import { isStandard, nodeLabel } from './model.js';
import { GraphProtoSchema, NodeProtoSchema, type GraphProto, type NodeProto } from './onnx_pb.js';
import { Shapes } from './shapes.js';
import { DataType, tensorProto, type ExternalData } from './tensor.js';

/**
 * Recurrent layers written as Loop or Scan over the sequence. Where the body is an LSTM, GRU or RNN cell, or a stack of
 * them, whose trip count is the length of the sequence, the node is replaced by recurrent nodes that compute the same.
 */
export function replaceLoops(graph: GraphProto, opset: number, external: ExternalData): void {
  for (const node of graph.node.filter((n) => isStandard(n) && (n.opType === 'Loop' || n.opType === 'Scan'))) {
    const replacement = new LoopReader(graph, node, opset, external).replacement();
    if (!replacement) continue;
    graph.node = graph.node.flatMap((n) => (n === node ? replacement.nodes : [n]));
    graph.initializer = [...graph.initializer, ...replacement.initializers];
  }
}

/** Iterations of which the condition is computed; a longer constant trip count is left alone. */
const mostIterations = 4096;

/** One state that the body carries from iteration to iteration. */
export interface CarriedState {
  /** Tensors: the body's input and output, the node's input and output. */
  readonly inner: string;
  readonly next: string;
  readonly initial: string;
  readonly final: string;
}

export class LoopReader {
  readonly body: GraphProto;
  readonly isScan: boolean;
  /** The body beside the graph around it: constants and shapes then follow across the border. */
  private readonly beside: GraphProto;
  readonly constants: Constants;
  readonly shapes: Shapes;
  private readonly carried: readonly CarriedState[];
  /** Body outputs that are stacked over the iterations, with the node's outputs. */
  readonly stacked: readonly { readonly inner: string; readonly outer: string }[];
  readonly invariants: readonly CarriedState[];
  /** States that count the iterations from zero. */
  readonly counters: readonly CarriedState[];
  /** What recurs. */
  readonly states: readonly CarriedState[];

  constructor(
    graph: GraphProto,
    private readonly node: NodeProto,
    private readonly opset: number,
    external: ExternalData,
  ) {
    this.isScan = node.opType === 'Scan';
    this.body = node.attribute.find((a) => a.name === 'body')?.g ?? create(GraphProtoSchema);
    const { input, output } = this.body;
    const skipIn = this.isScan ? 0 : 2;
    const skipOut = this.isScan ? 0 : 1;
    const count = this.isScan ? node.input.length - (intAttribute(node, 'num_scan_inputs') ?? 1) : node.input.length - 2;
    const states = Array.from({ length: Math.max(0, count) }, (_, i) => ({
      inner: input[skipIn + i]?.name ?? '',
      next: output[skipOut + i]?.name ?? '',
      initial: node.input[skipIn + i]!,
      final: node.output[i] ?? '',
    }));
    this.stacked = output
      .slice(skipOut + states.length)
      .map((o, i) => ({ inner: o.name, outer: node.output[states.length + i] ?? '' }));
    const made = new Map(this.body.node.flatMap((n) => n.output.map((o) => [o, n] as const)));
    const source = (name: string): string => (made.get(name)?.opType === 'Identity' ? source(made.get(name)!.input[0]!) : name);
    this.invariants = states.filter((s) => source(s.next) === s.inner);
    this.carried = states.filter((s) => !this.invariants.includes(s));
    const identities = this.invariants.map((s) =>
      create(NodeProtoSchema, { opType: 'Identity', input: [s.initial], output: [s.inner] }),
    );
    const isInvariant = new Set(this.invariants.map((s) => s.inner));
    this.beside = create(GraphProtoSchema, {
      ...plain(graph),
      node: [...graph.node.filter((n) => n !== node), ...identities, ...this.body.node],
      input: [...graph.input, ...input.filter((i) => !isInvariant.has(i.name))],
      initializer: [...graph.initializer, ...this.body.initializer],
      valueInfo: [...graph.valueInfo, ...this.body.valueInfo, ...output],
    });
    this.constants = new Constants(this.beside, external);
    this.shapes = new Shapes(this.beside, this.constants);
    this.counters = this.isScan ? [] : this.carried.filter((s) => this.isCounter(s));
    this.states = this.carried.filter((s) => !this.counters.includes(s));
  }

  replacement(): GraphBuilder | null {
    const { counters, states } = this;
    const isState = new Set(states.map((s) => s.inner));
    const producer = (name: string) => this.constants.producer(name);
    const affine = new AffineReader(producer, this.constants, (name) => this.shapes.shape(name)?.map(dimSize) ?? null);
    const patterns = new CellPatterns(producer, this.constants, affine, (name) => isState.has(name));
    const cells: { cell: FoundCell; h: CarriedState; c: CarriedState | null }[] = [];
    const found = new Set<CarriedState>();
    for (const h of states) {
      const nextH = affine.base(h.next);
      const cell = patterns.match(nextH);
      const c = cell?.c === undefined || cell.c === null ? null : (states.find((s) => s.inner === cell.c) ?? null);
      if (!cell || cell.h !== h.inner || (cell.c !== null && (!c || affine.base(c.next) !== affine.base(cell.nextC!)))) continue;
      cells.push({ cell, h, c });
      found.add(h);
      if (c) found.add(c);
    }
    const complete = states.every((s) => found.has(s)) && cells.length > 0;
    const used = counters.some((s) => s.final !== '' && this.isRead(s.final));
    if (!complete || used || this.invariants.some((s) => s.final !== '' && this.isRead(s.final))) return null;

    const label = nodeLabel(this.node);
    const g = new GraphBuilder(label, this.opset, this.floatType());
    const sequences = new Map<string, string>();
    for (const { cell, h, c } of this.inOrder(cells)) {
      const x = sequences.get(affine.base(cell.x)) ?? this.sequence(cell.x);
      if (x === null || (!sequences.has(affine.base(cell.x)) && this.shapes.shape(x)?.length !== 3)) return null;
      // Each cell has its own weights, so each has its own builder.
      const own = new GraphBuilder(`${cell.nextH}/${cell.kind}`, this.opset, this.floatType());
      const state = (s: CarriedState) => own.unsqueeze(s.initial, 0);
      const { y, yH, yC } = recurrentNode(
        own,
        cells.length === 1 ? label : `${label}/${cell.nextH}`,
        cell,
        x,
        state(h),
        c && state(c),
      );
      const all = own.squeeze(y, 1);
      sequences.set(cell.nextH, all);
      const finish = (name: string, from: string) => {
        if (name !== '' && this.isRead(name)) own.node('Identity', [own.squeeze(from, 0)], [], [name]);
      };
      finish(h.final, yH);
      if (c) finish(c.final, yC);
      g.nodes.push(...own.nodes);
      g.initializers.push(...own.initializers);
    }
    for (const { inner, outer } of this.stacked) {
      if (outer === '' || !this.isRead(outer)) continue;
      const y = sequences.get(affine.base(inner));
      if (y === undefined) return null;
      g.node('Identity', [y], [], [outer]);
    }
    return g;
  }

  isRead(name: string): boolean {
    return this.beside.output.some((o) => o.name === name) || this.beside.node.some((n) => readsOf(n).includes(name));
  }

  private floatType(): DataType {
    const stored = this.beside.initializer.find((t) => t.dataType === DataType.DOUBLE || t.dataType === DataType.FLOAT16);
    return stored && !this.beside.initializer.some((t) => t.dataType === DataType.FLOAT) ? stored.dataType : DataType.FLOAT;
  }

  /** Cells of a stack from the bottom up. */
  private inOrder<T extends { cell: FoundCell }>(cells: readonly T[]): T[] {
    const made = this.body.node.flatMap((n) => n.output);
    return [...cells].sort((a, b) => made.indexOf(a.cell.nextH) - made.indexOf(b.cell.nextH));
  }

  /** A state that counts the iterations from zero. */
  private isCounter({ inner, next, initial }: CarriedState): boolean {
    const sum = this.constants.producer(next);
    const start = this.constants.value(initial);
    if (sum?.opType !== 'Add' || start?.data.length !== 1 || start.data[0] !== 0) return false;
    const step = sum.input[0] === inner ? sum.input[1] : sum.input[1] === inner ? sum.input[0] : undefined;
    return step !== undefined && this.constants.value(step)?.data[0] === 1;
  }

  /** The sequence [time, …] of which the body reads one step as `x`; null unless every step is read once, in order. */
  sequence(x: string): string | null {
    const { counters } = this;
    if (this.isScan) {
      const states = this.node.input.length - (intAttribute(this.node, 'num_scan_inputs') ?? 1);
      const index = this.body.input.findIndex((i) => i.name === x) - states;
      const axis = intsAttribute(this.node, 'scan_input_axes')?.[index] ?? 0;
      const backwards = (key: string) => intsAttribute(this.node, key)?.some((d) => d !== 0) ?? false;
      const other = axis !== 0 || backwards('scan_input_directions') || backwards('scan_output_directions');
      const stackedElsewhere = intsAttribute(this.node, 'scan_output_axes')?.some((a) => a !== 0) ?? false;
      const name = this.node.input[states + index];
      return index < 0 || other || stackedElsewhere || name === undefined || !this.shapes.shape(name) ? null : name;
    }
    const gather = this.constants.producer(x);
    if (gather?.opType !== 'Gather' || (intAttribute(gather, 'axis') ?? 0) !== 0) return null;
    const [sequence, index] = gather.input as [string, string];
    const shape = this.shapes.shape(sequence);
    const counts = new Set([this.body.input[0]!.name, ...counters.map((s) => s.inner)]);
    const indexed = this.constants.producer(index)?.opType === 'Cast' ? this.constants.producer(index)!.input[0]! : index;
    if (!shape || shape.length === 0 || !counts.has(indexed)) return null;
    const trips = this.trips();
    if (trips !== null) return dimSize(shape[0]!) === trips ? sequence : null;
    // A trip count that is only known at run time must be the length of the sequence itself, with no other way to stop.
    const wanted = this.shapes.vector(this.node.input[0] ?? '')?.[0];
    const same =
      typeof wanted === 'object' && wanted.length === shape[0]!.length && wanted.every((a, i) => a.id === shape[0]![i]!.id);
    return same && this.neverStops() ? sequence : null;
  }

  private neverStops(): boolean {
    const [condition, inner] = [this.body.output[0]!.name, this.body.input[1]!.name];
    const producer = this.constants.producer(condition);
    const passed = condition === inner || (producer?.opType === 'Identity' && producer.input[0] === inner);
    const holds = this.constants.value(this.node.input[1] ?? '');
    return passed ? (this.node.input[1] ?? '') === '' || holds?.data[0] === 1 : this.constants.value(condition)?.data[0] === 1;
  }

  /** Iterations, where the trip count and the condition depend on nothing but counting; null where they are not known. */
  private trips(): number | null {
    const { counters } = this;
    const limit = this.constants.value(this.node.input[0] ?? '')?.data[0];
    const first = (this.node.input[1] ?? '') === '' ? 1 : this.constants.value(this.node.input[1]!)?.data[0];
    if (limit === undefined || first === undefined || limit > mostIterations) return null;
    const [iteration, condition] = this.body.input;
    let holds = first;
    let trips = 0;
    while (holds && trips < limit) {
      const count = (name: string, type = DataType.INT64) => tensorProto(name, type, [], [trips]);
      const at = this.constants.given(
        count(iteration!.name),
        tensorProto(condition!.name, DataType.BOOL, [], [1]),
        ...counters.map((s) => count(s.inner)),
      );
      const next = at.value(this.body.output[0]!.name);
      if (!next) return null;
      trips++;
      holds = next.data[0]!;
    }
    return trips;
  }
}
