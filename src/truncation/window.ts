import { create } from '@bufbuild/protobuf';
import { BadInputError } from '../errors.js';
import { intAttribute, intsAttribute } from '../checkpoint/onnx/attributes.js';
import { normalAxis } from '../checkpoint/onnx/constants.js';
import { opsetOf } from '../checkpoint/onnx/model.js';
import { plain, withDimension } from '../checkpoint/onnx/exposed.js';
import {
  GraphProtoSchema,
  ModelProtoSchema,
  NodeProtoSchema,
  StringStringEntryProtoSchema,
  type GraphProto,
  type ModelProto,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from '../checkpoint/onnx/onnx_pb.js';
import type { OnnxCheckpoint } from '../checkpoint/onnx/reader.js';
import { liveNodes, readsOf } from '../checkpoint/onnx/graphs.js';
import { DataType, tensorProto } from '../checkpoint/onnx/tensor.js';
import { dimSize } from '../checkpoint/onnx/dims.js';
import { GraphBuilder, intsAttribute as intsAttributeProto } from '../checkpoint/onnx/graphBuilder.js';
import { placementOf, PositionUses, windowFor, type Placement } from './placement.js';
import { unrollNode } from './unroll.js';

/** A truncated model in `window` mode, and how its input and output lie in the sequence. */
export interface WindowModel {
  readonly model: ModelProto & { graph: GraphProto };
  /** Steps of context. */
  readonly k: number;
  /** Positions that the input holds. */
  readonly length: number;
  /** The position of the window that the output speaks of; null when nothing was truncated and every output is kept. */
  readonly position: number | null;
  readonly placement: Placement;
}

/**
 * Replaces every recurrent node by `k` unrolled steps inside the original graph; what stands before and after stays.
 * @param k steps of context; at or above the checkpoint's fixed sequence length nothing is truncated
 * @throws BadInputError where the model's outputs need the whole of a sequence of any length
 */
export function truncateToWindow(checkpoint: OnnxCheckpoint, k: number, fixedLength: number | null): WindowModel {
  const uses = new PositionUses(checkpoint);
  const placement = placementOf(checkpoint, uses);
  const window = placement.kind === 'window' ? windowFor(placement, k) : null;
  const whole = fixedLength !== null && (k >= fixedLength || (window !== null && window.length >= fixedLength));
  if (!whole && placement.kind === 'whole') {
    if (fixedLength === null) {
      throw new BadInputError(
        'needs-whole-sequence',
        `no window can replace the recurrence: ${placement.reason}, and the sequence may have any length`,
      );
    }
    throw new BadInputError(
      'needs-whole-sequence',
      `no window of ${k} steps can replace the recurrence: ${placement.reason}; export with --length ${fixedLength}, the model's whole sequence`,
    );
  }
  if (!whole && !checkpoint.model.graph.input.some((input) => uses.timeAxis(input.name) !== null)) {
    throw new BadInputError(
      'no-sequence-axis',
      `the sequence axis of ${checkpoint.network.layers[0]!.name} cannot be followed to an input of the graph, so no window of inputs can be cut`,
    );
  }
  const length = whole ? fixedLength : window!.length;
  const position = whole ? null : window!.position;
  return {
    model: new WindowWriter(checkpoint, uses, length, position, fixedLength).write(),
    k: whole ? fixedLength : k,
    length,
    position,
    placement,
  };
}

class WindowWriter {
  private readonly graph: GraphProto;
  /** Tensors that carry only the position asked for, instead of all of the window. */
  private readonly narrowed = new Set<string>();
  private readonly narrowedLayers: ReadonlySet<number>;

  constructor(
    private readonly checkpoint: OnnxCheckpoint,
    private readonly uses: PositionUses,
    private readonly length: number,
    private readonly position: number | null,
    private readonly fixedLength: number | null,
  ) {
    this.graph = checkpoint.model.graph;
    this.narrowedLayers = position === null ? new Set() : this.findNarrowed();
  }

  /**
   * The layers whose Y needs only one position: all that is computed from it must come from such layers alone, or a skip
   * connection would meet a sequence of another length.
   */
  private findNarrowed(): Set<number> {
    const candidates = new Set(this.checkpoint.nodes.keys());
    for (;;) {
      const below = new Set([...candidates].map((i) => this.checkpoint.nodes[i]!.y).filter((y) => y !== ''));
      let clash = false;
      for (const node of this.graph.node) {
        if (!node.input.some((name) => below.has(name))) continue;
        const layer = this.checkpoint.nodes.findIndex((n) => n.node === node);
        const mixed = node.input.some((name) => !below.has(name) && this.uses.of(name).use === 'each' && node.opType !== 'Shape');
        if (layer >= 0 || mixed) {
          clash = true;
          const before = candidates.size;
          for (const i of this.layersAbove(node.input.filter((name) => below.has(name)))) candidates.delete(i);
          if (candidates.size === before) candidates.clear();
          break;
        }
        for (const output of node.output) below.add(output);
      }
      if (clash) continue;
      for (const name of below) this.narrowed.add(name);
      return candidates;
    }
  }

  /** The layers whose Y leads to one of the tensors without another recurrent node between. */
  private layersAbove(names: readonly string[]): Set<number> {
    const found = new Set<number>();
    const visit = (name: string) => {
      const layer = this.checkpoint.nodes.findIndex((n) => n.y === name);
      if (layer >= 0) found.add(layer);
      else for (const input of this.checkpoint.constants.producer(name)?.input ?? []) visit(input);
    };
    names.forEach(visit);
    return found;
  }

  write(): ModelProto & { graph: GraphProto } {
    const { model, constants } = this.checkpoint;
    const opset = opsetOf(model);
    const added: TensorProto[] = [];
    const nodes: NodeProto[] = [];
    for (const [i, node] of this.graph.node.entries()) {
      const layer = this.checkpoint.nodes.findIndex((n) => n.node === node);
      if (layer < 0) {
        nodes.push(this.adapted(node, i, added));
        continue;
      }
      const read = this.checkpoint.nodes[layer]!;
      const g = new GraphBuilder(`unrolled/${layer}`, opset, read.type);
      unrollNode(g, read, this.length, (name) => constants.isZero(name), {
        keep: this.narrowedLayers.has(layer) ? this.position! : 'all',
      });
      nodes.push(...g.nodes);
      added.push(...g.initializers);
    }
    const outputs = this.graph.output.map((info) => this.output(info, nodes, added));
    const alive = liveNodes(
      nodes,
      outputs.map((o) => o.name),
    );
    const used = new Set(alive.flatMap(readsOf));
    const initialized = new Set(this.graph.initializer.map((t) => t.name));
    const graph = create(GraphProtoSchema, {
      ...plain(this.graph),
      node: alive,
      initializer: [...this.graph.initializer, ...added].filter((t) => used.has(t.name)),
      // Old files list initializers among the inputs; the ones that went must go there too.
      input: this.graph.input
        .filter((info) => !initialized.has(info.name) || used.has(info.name))
        .map((info) => this.resized(info, this.length)),
      output: outputs,
      // Shapes inside have changed; ONNX's own inference finds the new ones.
      valueInfo: [],
    });
    const irVersion = model.irVersion < 4n ? 4n : model.irVersion;
    return Object.assign(create(ModelProtoSchema, { ...plain(model), irVersion, graph }), { graph });
  }

  /** Number of positions that a tensor of the new graph carries. */
  private positions(name: string): number {
    return this.narrowed.has(name) ? 1 : this.length;
  }

  /** A declared shape with the time axis set. */
  private resized(info: ValueInfoProto, positions: number): ValueInfoProto {
    const axis = this.uses.timeAxis(info.name);
    if (axis === null) return info;
    const others = this.checkpoint.shapes.shape(info.name)![axis]!.filter((atom) => !this.uses.timeIds.has(atom.id));
    const rest = dimSize(others);
    return withDimension(info, axis, rest === null ? null : rest * positions);
  }

  /** An output that still carries the whole window is cut to the one position that has full context. */
  private output(info: ValueInfoProto, nodes: NodeProto[], added: TensorProto[]): ValueInfoProto {
    const axis = this.uses.timeAxis(info.name);
    if (this.position === null || axis === null || this.uses.of(info.name).use !== 'each') return this.resized(info, this.length);
    if (!this.narrowed.has(info.name)) {
      const whole = `${info.name}/window`;
      for (const [i, node] of nodes.entries()) {
        const rename = (name: string) => (name === info.name ? whole : name);
        if ([...node.input, ...node.output].includes(info.name)) {
          nodes[i] = create(NodeProtoSchema, { ...plain(node), input: node.input.map(rename), output: node.output.map(rename) });
        }
      }
      const g = new GraphBuilder(`${info.name}/position`, opsetOf(this.checkpoint.model), DataType.FLOAT);
      g.slice(whole, axis, this.position, this.position + 1, info.name);
      nodes.push(...g.nodes);
      added.push(...g.initializers);
    }
    return this.resized(info, 1);
  }

  /** Constants that hold the old sequence length: shapes of Reshape, the index of the last position. */
  private adapted(node: NodeProto, index: number, added: TensorProto[]): NodeProto {
    if (this.fixedLength === null) return node;
    const replaceInput = (of: NodeProto, input: number, values: readonly number[]) => {
      const name = `resized/${index}/${input}`;
      const { type, dims } = this.checkpoint.constants.value(of.input[input]!)!;
      added.push(tensorProto(name, type, dims, values));
      return create(NodeProtoSchema, { ...plain(of), input: of.input.map((n, i) => (i === input ? name : n)) });
    };
    const source = node.input[0] ?? '';
    const axis = this.uses.timeAxis(source);
    const { constants, shapes } = this.checkpoint;
    if (node.opType === 'Reshape') {
      const target = constants.integers(node.input[1]);
      const after = shapes.shape(node.output[0]!);
      if (!target || !after) return node;
      const positions = this.positions(source);
      const scaled = target.map((d, i) =>
        d > 0 && after[i]?.some((atom) => this.uses.timeIds.has(atom.id)) ? (d / this.fixedLength!) * positions : d,
      );
      return scaled.some((d, i) => d !== target[i]) ? replaceInput(node, 1, scaled) : node;
    }
    const rank = shapes.shape(source)?.length ?? 0;
    if (axis === null) return node;
    if (node.opType === 'Gather' && normalAxis(intAttribute(node, 'axis') ?? 0, rank, node) === axis) {
      const last = constants.integers(node.input[1]);
      return last?.length === 1 && last[0] === this.fixedLength - 1 ? replaceInput(node, 1, [-1]) : node;
    }
    if (node.opType === 'Slice') {
      const list = (name: string, input: number) => intsAttribute(node, name) ?? constants.integers(node.input[input]);
      const starts = list('starts', 1);
      const ends = list('ends', 2);
      const axes = list('axes', 3) ?? starts?.map((_, i) => i);
      const at = axes?.findIndex((a) => normalAxis(a, rank, node) === axis) ?? -1;
      if (at < 0 || !starts || !ends || starts[at] !== this.fixedLength - 1) return node;
      const first = starts.map((s, i) => (i === at ? -1 : s));
      const last = ends.map((e, i) => (i === at ? 2 ** 31 - 1 : e));
      if (intsAttribute(node, 'starts') === undefined) return replaceInput(replaceInput(node, 1, first), 2, last);
      // Before operator set 10 they are attributes.
      const others = node.attribute.filter((a) => a.name !== 'starts' && a.name !== 'ends');
      const attribute = [...others, intsAttributeProto('starts', first), intsAttributeProto('ends', last)];
      return create(NodeProtoSchema, { ...plain(node), attribute });
    }
    return node;
  }
}

/** Says in the file itself what it is. */
export function describeInMetadata(model: ModelProto, entries: Readonly<Record<string, string>>): ModelProto {
  const added = Object.entries(entries).map(([key, value]) =>
    create(StringStringEntryProtoSchema, { key: `rnn_stability.${key}`, value }),
  );
  return create(ModelProtoSchema, { ...plain(model), metadataProps: [...model.metadataProps, ...added] });
}
