import { create } from '@bufbuild/protobuf';
import { BadInputError } from '../errors.js';
import { Constants } from '../checkpoint/onnx/constants.js';
import { dimSize } from '../checkpoint/onnx/dims.js';
import { declared, plain } from '../checkpoint/onnx/exposed.js';
import { GraphBuilder } from '../checkpoint/onnx/graphBuilder.js';
import { bodiesOf, dependents, liveNodes, pruned, renamed, withoutIdentities } from '../checkpoint/onnx/graphs.js';
import { nodeLabel, opsetOf, type ModelProtoWithGraph } from '../checkpoint/onnx/model.js';
import {
  AttributeProto_AttributeType as Kind,
  AttributeProtoSchema,
  NodeProtoSchema,
  type GraphProto,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from '../checkpoint/onnx/onnx_pb.js';
import { timeAndBatch, type OnnxCheckpoint } from '../checkpoint/onnx/reader.js';
import { declaredDims } from '../checkpoint/onnx/settings.js';
import { Shapes } from '../checkpoint/onnx/shapes.js';
import { withGraph } from '../checkpoint/onnx/staticShapes.js';
import { DataType, elementCount, tensorProto } from '../checkpoint/onnx/tensor.js';
import type { Port, StreamingModel } from '../streaming/streamingModel.js';
import { frameAxes, type FrameTensor } from './frameAxis.js';
import { unrollNode } from './unroll.js';

/**
 * A streaming model without its state: k frames go in at once, the first of them from the initial state, and the answer of
 * the last comes out. What does not depend on the state is computed for all frames together; the rest once for every frame,
 * with one set of weights.
 *
 * Each input keeps its name and gets a leading axis of k frames, the oldest first, or k frames along its time axis where it
 * has one; each output keeps name and shape.
 */
export interface StatelessModel {
  readonly model: ModelProtoWithGraph;
  readonly k: number;
  /** Nodes of one frame that depend on the state, and nodes that compute all frames at once. */
  readonly recurrentNodes: number;
  readonly batchedNodes: number;
}

export function withoutState(streaming: StreamingModel, checkpoint: OnnxCheckpoint, k: number): StatelessModel {
  const single = withoutRecurrentNodes(streaming, checkpoint);
  return new FrameUnroller(streaming, checkpoint.model, single, k).write();
}

/** The graph of one frame with every recurrent node written out. */
function withoutRecurrentNodes(streaming: StreamingModel, checkpoint: OnnxCheckpoint): GraphProto {
  const { model, constants, nodes, shapes } = checkpoint;
  const replaced: NodeProto[] = [];
  const added: TensorProto[] = [];
  for (const node of model.graph.node) {
    const index = nodes.findIndex((n) => n.node === node);
    if (index < 0) {
      replaced.push(node);
      continue;
    }
    const recurrent = nodes[index]!;
    const steps = timeAndBatch(recurrent, shapes);
    const length = steps && dimSize(steps.time);
    if (length === null) {
      throw new BadInputError(
        'no-sequence-axis',
        `node ${nodeLabel(node)}: the number of its steps is not known, so it cannot be written out`,
      );
    }
    const g = new GraphBuilder(`${nodeLabel(node)}/unrolled_${index}`, opsetOf(model), recurrent.type);
    unrollNode(g, recurrent, length, (name) => constants.isZero(name), { keep: 'all' });
    replaced.push(...g.nodes);
    added.push(...g.initializers);
  }
  const outputs = new Set([...streaming.outputs.map((o) => o.name), ...streaming.states.map((s) => s.output)]);
  return withoutIdentities(
    pruned({
      ...model.graph,
      node: replaced,
      initializer: [...model.graph.initializer, ...added],
      output: model.graph.output.filter((o) => outputs.has(o.name)),
    }),
  );
}

/** A tensor that does not depend on the state: of all frames along an axis, or of each frame by itself. */
type Frames = { readonly all: string; readonly axis: number } | { readonly each: (string | undefined)[] };

class FrameUnroller {
  private readonly opset: number;
  private readonly constants: Constants;
  private readonly dims: (name: string) => readonly number[] | null;
  private readonly g: GraphBuilder;
  private readonly nodes: NodeProto[] = [];
  /** Tensors that depend on frames but not on the state. */
  private readonly frames = new Map<string, Frames>();
  private readonly stateful: ReadonlySet<string>;
  private readonly varying: ReadonlySet<string>;
  private readonly initial = new Map<string, string>();
  /** Tensors of all frames that were cut into single ones. */
  private readonly pieces = new Map<string, string[]>();
  private readonly numbers = new Map<string, number>();
  private batched = 0;

  constructor(
    private readonly streaming: StreamingModel,
    private readonly model: ModelProtoWithGraph,
    private readonly single: GraphProto,
    private readonly k: number,
  ) {
    this.opset = opsetOf(model);
    this.constants = new Constants(single, new Map());
    const shapes = new Shapes(single, this.constants);
    const declared = new Map([...single.valueInfo, ...single.output].map((i) => [i.name, declaredDims(i)]));
    this.dims = (name) => {
      const known = declared.get(name) ?? shapes.shape(name)?.map(dimSize);
      return known?.every((d) => d !== null) ? (known as number[]) : null;
    };
    this.g = new GraphBuilder('stateless', this.opset, DataType.FLOAT);
    this.stateful = dependents(
      single.node,
      streaming.states.map((s) => s.input),
    );
    this.varying = dependents(
      single.node,
      streaming.frames.map((f) => f.name),
    );
    this.refuseControlFlow();
  }

  private refuseControlFlow(): void {
    const left = this.single.node.find((n) => bodiesOf(n).length > 0);
    if (!left) return;
    throw new BadInputError(
      'control-flow-left',
      `node ${nodeLabel(left)}: this ${left.opType} depends on the data, so no feed-forward model can stand in its place`,
    );
  }

  write(): StatelessModel {
    const { k, streaming, single } = this;
    const stateOutputs = streaming.states.map((s) => s.output);
    const outputs = streaming.outputs.map((o) => o.name);
    const forStates = new Set(liveNodes(single.node, stateOutputs));
    const forOutputs = new Set(liveNodes(single.node, outputs));
    const isConstant = (node: NodeProto) => !node.output.some((o) => this.stateful.has(o) || this.varying.has(o));
    this.nodes.push(...single.node.filter(isConstant));
    const feeds = streaming.frames.map((port) => this.takeFrames(port));
    for (const node of single.node) {
      if (isConstant(node) || node.output.some((o) => this.stateful.has(o))) continue;
      // What only the answer needs is computed for the last frame alone.
      if (forStates.has(node) && k > 1) this.withoutStateAtAll(node);
      else this.perFrame(node, [k - 1]);
    }
    const recurrent = single.node.filter((node) => node.output.some((o) => this.stateful.has(o)));
    for (let t = 0; t < k; t++) {
      const needed = recurrent.filter((node) => (t < k - 1 ? forStates : forOutputs).has(node));
      for (const node of needed)
        this.push(
          renamed(node, (name) => this.at(name, t)),
          node.output.map((o) => this.framed(o, t)),
        );
    }
    for (const name of outputs) this.g.node('Identity', [this.at(name, k - 1)], [], [name]);
    this.flush();
    const graph = withGraph(this.model, {
      node: this.nodes,
      initializer: [...single.initializer, ...this.g.initializers],
      input: feeds,
      output: single.output.filter((o) => outputs.includes(o.name)),
      valueInfo: [],
    });
    const model = withGraph(graph, { ...pruned(graph.graph) });
    if (model.irVersion < 4n) model.irVersion = 4n;
    return { model, k, recurrentNodes: recurrent.filter((n) => forStates.has(n)).length, batchedNodes: this.batched };
  }

  /** Moves what the builder made behind what there is already. */
  private flush(): void {
    this.nodes.push(...this.g.nodes.splice(0));
  }

  private push(node: NodeProto, output: readonly string[]): void {
    this.flush();
    this.nodes.push(create(NodeProtoSchema, { ...plain(node), name: '', output: [...output] }));
  }

  /** Short, because it is written k times: the graph's own names are as long as its weights where k is large. */
  private framed(name: string, t: number): string {
    if (name === '') return '';
    const number = this.numbers.get(name) ?? this.numbers.size;
    this.numbers.set(name, number);
    return `frame_${t}/${number}`;
  }

  /** Declares the input of all frames and lays them behind each other along one axis of a frame. */
  private takeFrames({ name, type, dims, timeAxis }: Port): ValueInfoProto {
    const { k } = this;
    if (timeAxis !== undefined) {
      this.frames.set(name, { all: name, axis: timeAxis });
      return declared(
        name,
        type,
        dims.map((d, axis) => (axis === timeAxis ? k * d : d)),
      );
    }
    if (dims.length > 0) {
      const [first, ...rest] = dims as [number, ...number[]];
      this.frames.set(name, { all: this.g.reshape(name, [k * first, ...rest]), axis: 0 });
    } else {
      this.frames.set(name, {
        each: this.g.split(name, 0, new Array<number>(k).fill(1)).map((part) => this.g.reshape(part, [])),
      });
    }
    return declared(name, type, [k, ...dims]);
  }

  /** One node for all frames where it treats each by itself, else one for every frame. */
  private withoutStateAtAll(node: NodeProto): void {
    const tensor = (name: string): FrameTensor | null => {
      const dims = this.dims(name);
      if (!dims) return null;
      const frames = this.frames.get(name);
      if (!frames) return { dims, axis: null };
      return 'all' in frames ? { dims, axis: frames.axis } : null;
    };
    const axes = frameAxes(node, tensor, this.dims(node.output[0]!), this.constants, this.k, this.opset);
    if (!axes)
      return this.perFrame(
        node,
        Array.from({ length: this.k }, (_, t) => t),
      );
    this.batched++;
    const all = (name: string) => {
      const frames = this.frames.get(name);
      return frames && 'all' in frames ? frames.all : name;
    };
    const outputs = node.output.map((o) => (o === '' ? '' : `frames/${o}`));
    if (axes.shape) {
      this.g.node('Identity', [this.g.reshape(all(node.input[0]!), axes.shape)], [], [outputs[0]!]);
    } else {
      this.push(renamed(node, all), outputs);
    }
    node.output.forEach((o, i) => o !== '' && this.frames.set(o, { all: outputs[i]!, axis: axes.axis }));
  }

  private perFrame(node: NodeProto, frames: readonly number[]): void {
    for (const t of frames)
      this.push(
        renamed(node, (name) => this.at(name, t)),
        node.output.map((o) => this.framed(o, t)),
      );
    for (const o of node.output) {
      if (o === '') continue;
      const each = new Array<string | undefined>(this.k).fill(undefined);
      for (const t of frames) each[t] = this.framed(o, t);
      this.frames.set(o, { each });
    }
  }

  /** The tensor's name at one frame. */
  private at(name: string, t: number): string {
    if (name === '') return name;
    const state = this.streaming.states.find((s) => s.input === name);
    if (state) return t === 0 ? this.initialState(state) : this.at(state.output, t - 1);
    if (this.stateful.has(name)) return this.framed(name, t);
    const frames = this.frames.get(name);
    if (!frames) return name;
    if ('all' in frames) return this.cut(name, frames, t);
    return frames.each[t] ?? name;
  }

  /** The tensor of all frames cut into them, once. */
  private cut(name: string, frames: { all: string; axis: number }, t: number): string {
    const known = this.pieces.get(name);
    if (known) return known[t]!;
    const dims = this.dims(name)!;
    const each = this.g.split(frames.all, frames.axis, new Array<number>(this.k).fill(dims[frames.axis]!));
    this.flush();
    this.pieces.set(name, each);
    return each[t]!;
  }

  /** Zeros as a node, not as stored numbers: caches can be larger than the weights. */
  private initialState({ input, dims, type, initial }: StreamingModel['states'][number]): string {
    const known = this.initial.get(input);
    if (known !== undefined) return known;
    const name = `stateless/${input}/initial`;
    if (this.opset < 9 || initial) {
      const values = initial ?? new Float64Array(elementCount(dims));
      this.initial.set(input, this.g.constant(`${input}/initial`, dims, values, type));
      return this.initial.get(input)!;
    }
    const value = create(AttributeProtoSchema, { name: 'value', type: Kind.TENSOR, t: tensorProto('', type, [1], [0]) });
    const shape = this.g.constant(`${input}/shape`, [dims.length], dims, DataType.INT64);
    this.push(create(NodeProtoSchema, { opType: 'ConstantOfShape', input: [shape], attribute: [value] }), [name]);
    this.initial.set(input, name);
    return name;
  }
}
