import type { OnnxCheckpoint } from '../checkpoint/onnx/reader.js';
import { sequenceAtoms } from '../checkpoint/onnx/reader.js';
import { intAttribute, intsAttribute } from '../checkpoint/onnx/attributes.js';
import { normalAxis } from '../checkpoint/onnx/constants.js';
import { nodeLabel } from '../checkpoint/onnx/model.js';
import { words } from '../checkpoint/onnx/operators.js';
import type { NodeProto } from '../checkpoint/onnx/onnx_pb.js';
import { isRecurrent } from '../checkpoint/onnx/recurrent.js';
import { dimSize } from '../checkpoint/onnx/dims.js';

/**
 * Which positions of the sequence the model's outputs speak of, and hence where a window of inputs must lie.
 *   each   one value per position (Y as a whole)
 *   last   the last position only (Y_h of a forward layer, Gather of index −1)
 *   first  the first position only (Y_h of a reverse layer)
 *   all    every position at once (Y_h of a bidirectional layer, a mean over time, an operator that is not understood)
 */
export type PositionUse = 'none' | 'each' | 'last' | 'first' | 'all';

export interface OutputUse {
  readonly use: PositionUse;
  /** The operator that made the use `all`, for the message. */
  readonly reason: string | null;
}

/** Where the inputs of a window lie around the position that the output speaks of. */
export type Placement =
  | { readonly kind: 'window'; readonly at: 'each' | 'last' | 'first'; readonly before: boolean; readonly after: boolean }
  /** Only the whole sequence will do. */
  | { readonly kind: 'whole'; readonly reason: string };

/** Operators that treat every position by itself as long as the time axis is none of their own axes. */
const positionwise = words(
  'Abs Add BatchNormalization Cast Ceil Clip Cos Div Dropout Elu Equal Erf Exp Expand Floor Gather Gelu Gemm',
  'Greater HardSigmoid HardSwish Identity LeakyRelu Less Log MatMul Max Min Mish Mul Neg Not Pow PRelu',
  'Reciprocal Relu Reshape Flatten Selu Sigmoid Sign Sin Slice Softplus Softsign Split Sqrt Squeeze Sub Sum',
  'Tanh ThresholdedRelu Transpose Unsqueeze Where Concat',
);
/** Operators that mix along an axis: by attribute, with its default. */
const alongAxis: Readonly<Record<string, number>> = { Softmax: -1, LogSoftmax: -1, LayerNormalization: -1, Concat: 1, Split: 0 };

export class PositionUses {
  private readonly uses = new Map<string, OutputUse>();
  readonly timeIds: ReadonlySet<number>;

  constructor(private readonly checkpoint: OnnxCheckpoint) {
    this.timeIds = sequenceAtoms(checkpoint).time;
    for (const input of checkpoint.model.graph.input) {
      this.uses.set(input.name, { use: this.timeAxis(input.name) === null ? 'none' : 'each', reason: null });
    }
    for (const node of checkpoint.model.graph.node) this.follow(node);
  }

  of(name: string): OutputUse {
    return this.uses.get(name) ?? { use: 'none', reason: null };
  }

  /** The axis of a tensor that holds the sequence's positions; null where there is none. */
  timeAxis(name: string): number | null {
    return this.checkpoint.shapes.axisOf(name, this.timeIds);
  }

  private follow(node: NodeProto): void {
    if (isRecurrent(node)) return this.followRecurrent(node);
    const set = (use: PositionUse, reason: string | null = null) => {
      for (const output of node.output) this.uses.set(output, { use, reason });
    };
    if (node.opType === 'Shape' || node.opType === 'Constant') return set('none');
    const inputs = node.input.map((name) => this.of(name));
    const found = [...new Set(inputs.map((i) => i.use).filter((use) => use !== 'none'))];
    const blocked = inputs.find((i) => i.use === 'all');
    if (blocked) return set('all', blocked.reason);
    const label = `${node.opType} (node ${nodeLabel(node)})`;
    if (found.length > 1) return set('all', label);
    if (found.length === 0 || found[0] !== 'each') return set(found[0] ?? 'none');
    set(this.afterEach(node), label);
  }

  private followRecurrent(node: NodeProto): void {
    const index = this.checkpoint.nodes.findIndex((n) => n.node === node);
    const { directions, x, y, yH, yC } = this.checkpoint.nodes[index]!;
    const input = this.of(x);
    const label = `${node.opType} (node ${nodeLabel(node)})`;
    const end: PositionUse = directions.length === 2 ? 'all' : directions[0]!.reverse ? 'first' : 'last';
    const through = (use: PositionUse): OutputUse =>
      input.use === 'all' ? input : { use, reason: use === 'all' ? `the final states of both directions of ${label}` : null };
    this.uses.set(y, through('each'));
    this.uses.set(yH, through(end));
    this.uses.set(yC, through(end));
  }

  /** What a node makes of inputs that have one value per position. */
  private afterEach(node: NodeProto): PositionUse {
    const source = node.input.find((name) => this.of(name).use === 'each')!;
    const axis = this.timeAxis(source);
    const shape = this.checkpoint.shapes.shape(source);
    // A sequence of one step has no time axis; whatever follows speaks of that step.
    if (axis === null || !shape) return node.output.every((o) => this.checkpoint.shapes.shape(o)) ? 'each' : 'all';
    const single = this.singlePosition(node, axis, shape.length);
    if (single) return single;
    const mixing = alongAxis[node.opType];
    const known = positionwise.has(node.opType) || mixing !== undefined;
    if (!known) return 'all';
    if (mixing !== undefined && normalAxis(intAttribute(node, 'axis') ?? mixing, shape.length, node) === axis) return 'all';
    // The product of a matrix must not sum over positions, and no reshape may hide them among the features.
    if ((node.opType === 'MatMul' || node.opType === 'Gemm') && axis === shape.length - 1) return 'all';
    const kept = node.output.filter((o) => o !== '').every((o) => this.timeAxis(o) !== null);
    return kept ? 'each' : 'all';
  }

  /** Gather or Slice of the first or last position. */
  private singlePosition(node: NodeProto, axis: number, rank: number): PositionUse | null {
    const { constants, shapes } = this.checkpoint;
    const length = dimSize(shapes.shape(node.input[0]!)![axis]!);
    const named = (index: number): PositionUse | null =>
      index === -1 || (length !== null && index === length - 1) ? 'last' : index === 0 ? 'first' : 'all';
    if (node.opType === 'Gather' && normalAxis(intAttribute(node, 'axis') ?? 0, rank, node) === axis) {
      const index = constants.integers(node.input[1]);
      return index?.length === 1 ? named(index[0]!) : 'all';
    }
    if (node.opType === 'Slice') {
      const list = (key: string, input: number) => intsAttribute(node, key) ?? constants.integers(node.input[input]);
      const starts = list('starts', 1);
      const ends = list('ends', 2);
      const axes = list('axes', 3) ?? starts?.map((_, i) => i);
      const at = axes?.findIndex((a) => normalAxis(a, rank, node) === axis) ?? -1;
      if (at < 0 || !starts || !ends) return null;
      const step = list('steps', 4)?.[at] ?? 1;
      const [start, end] = [starts[at]!, ends[at]!];
      const reachesEnd = end >= 2 ** 31 - 1 || (length !== null && end >= length);
      if (start === 0 && reachesEnd && step === 1) return 'each';
      if ((start === -1 || (length !== null && start === length - 1)) && (reachesEnd || (end === 0 && start === -1)))
        return 'last';
      return start === 0 && end === 1 ? 'first' : 'all';
    }
    return null;
  }
}

export function placementOf(checkpoint: OnnxCheckpoint, uses: PositionUses): Placement {
  const outputs = checkpoint.model.graph.output.map((o) => uses.of(o.name));
  const found = new Set(outputs.map((o) => o.use).filter((use) => use !== 'none'));
  const reason = outputs.find((o) => o.use === 'all')?.reason;
  if (found.has('all'))
    return {
      kind: 'whole',
      reason: `an output depends on every position, through ${reason ?? 'an operator that is not understood'}`,
    };
  if (found.has('first') && found.has('last'))
    return { kind: 'whole', reason: 'one output speaks of the first position and another of the last' };
  const reverse = checkpoint.network.layers.some((l) => l.directions.some((d) => d.reverse));
  const forward = checkpoint.network.layers.some((l) => l.directions.some((d) => !d.reverse));
  if (found.has('last')) return { kind: 'window', at: 'last', before: true, after: false };
  if (found.has('first')) return { kind: 'window', at: 'first', before: false, after: true };
  return { kind: 'window', at: 'each', before: forward, after: reverse };
}

/** A window for k steps of context: its length, and the position in it that the output speaks of. */
export function windowFor(placement: Extract<Placement, { kind: 'window' }>, k: number): { length: number; position: number } {
  const before = placement.before ? k - 1 : 0;
  const after = placement.after ? k - 1 : 0;
  return { length: before + 1 + after, position: before };
}
