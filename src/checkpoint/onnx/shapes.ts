import { BadInputError } from '../../errors.js';
import { intAttribute, intsAttribute, stringAttribute } from './attributes.js';
import { normalAxis, sliceRanges, type Constants } from './constants.js';
import { dimSize, reshapeDims, type Atom, type Dim, type Shape, type ShapeElement } from './dims.js';
import { isStandard, nodeLabel } from './model.js';
import { words } from './operators.js';
import type { GraphProto, NodeProto, ValueInfoProto } from './onnx_pb.js';

const sum = (sizes: readonly number[]) => sizes.reduce((a, b) => a + b, 0);

/** Operators whose output has the shape of their first input. */
const sameShape = words(
  'Abs BatchNormalization Cast Ceil Clip Cos CumSum Dropout Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity',
  'InstanceNormalization LayerNormalization LeakyRelu Log LogSoftmax Mish Neg Not Reciprocal Relu Round Selu',
  'Sigmoid Sign Sin Softmax Softplus Softsign Sqrt Tanh ThresholdedRelu',
);
const broadcasting = words('Add Sub Mul Div Pow Max Min Mean Sum PRelu Where And Or Xor Equal Less Greater');

/** Shapes of all tensors of a graph, as far as they follow from the declared ones. */
export class Shapes {
  private readonly shapes = new Map<string, Shape>();
  private readonly vectors = new Map<string, readonly ShapeElement[]>();
  private readonly declared = new Map<string, ValueInfoProto>();
  private readonly symbols = new Map<string, Atom>();
  private nextId = 0;

  constructor(
    graph: GraphProto,
    private readonly constants: Constants,
  ) {
    for (const info of [...graph.valueInfo, ...graph.output, ...graph.input]) this.declared.set(info.name, info);
    for (const input of graph.input) this.declare(input.name);
    for (const node of graph.node) {
      if (isStandard(node)) {
        this.inferVector(node);
        this.infer(node);
      }
      for (const output of node.output) if (output !== '' && !this.shapes.has(output)) this.declare(output);
    }
  }

  /** null when nothing is known, not even the rank. */
  shape(name: string): Shape | null {
    const known = this.shapes.get(name);
    if (known) return known;
    const constant = this.constants.value(name);
    if (!constant) return null;
    const shape = constant.dims.map((d) => this.literal(d));
    this.shapes.set(name, shape);
    return shape;
  }

  /** The first axis of a tensor that holds one of the atoms; null where there is none. */
  axisOf(name: string, atoms: ReadonlySet<number>): number | null {
    const axis = this.shape(name)?.findIndex((dim) => dim.some((atom) => atoms.has(atom.id))) ?? -1;
    return axis < 0 ? null : axis;
  }

  private atom(size: number | null): Atom {
    return { id: this.nextId++, size };
  }

  private literal(size: number): Dim {
    return size === 1 ? [] : [this.atom(size)];
  }

  /** Takes the shape that the file declares. Equal symbols are equal sizes, which is what exporters mean by them. */
  private declare(name: string): void {
    const type = this.declared.get(name)?.type?.value;
    if (type?.case !== 'tensorType' || !type.value.shape) return;
    const shape = type.value.shape.dim.map((dim): Dim => {
      if (dim.value.case === 'dimValue' && dim.value.value > 0n) return this.literal(Number(dim.value.value));
      if (dim.value.case !== 'dimParam' || dim.value.value === '') return [this.atom(null)];
      const symbol = dim.value.value;
      const atom = this.symbols.get(symbol) ?? this.atom(null);
      this.symbols.set(symbol, atom);
      return [atom];
    });
    this.shapes.set(name, shape);
  }

  private set(name: string | undefined, shape: Shape | null): void {
    if (name !== undefined && name !== '' && shape) this.shapes.set(name, shape);
  }

  /** The elements of an integer tensor that describes a shape; null where they do not follow from shapes. */
  vector(name: string): readonly ShapeElement[] | null {
    return this.vectors.get(name) ?? this.constants.integers(name);
  }

  /** Integer tensors that are made of shapes: Shape → Gather → Unsqueeze → Concat, as exporters write them. */
  private inferVector(node: NodeProto): void {
    const output = node.output[0];
    if (output === undefined) return;
    const set = (elements: readonly ShapeElement[] | null | undefined) => {
      if (elements) this.vectors.set(output, elements);
    };
    const first = () => this.vector(node.input[0]!);
    switch (node.opType) {
      case 'Shape': {
        const shape = this.shape(node.input[0]!);
        set(shape?.slice(intAttribute(node, 'start') ?? 0, intAttribute(node, 'end') ?? shape.length));
        break;
      }
      case 'Cast':
      case 'Identity':
      case 'Squeeze':
      case 'Unsqueeze':
        if (this.vectors.has(node.input[0]!)) set(first());
        break;
      case 'Gather': {
        const source = this.vectors.get(node.input[0]!);
        const index = this.constants.integers(node.input[1]);
        if (source && index) set(index.map((i) => source[i < 0 ? i + source.length : i]!).filter((e) => e !== undefined));
        break;
      }
      case 'Slice': {
        const source = this.vectors.get(node.input[0]!);
        const starts = intsAttribute(node, 'starts') ?? this.constants.integers(node.input[1]);
        const ends = intsAttribute(node, 'ends') ?? this.constants.integers(node.input[2]);
        if (source && starts && ends) set(source.slice(starts[0], ends[0]));
        break;
      }
      case 'Concat': {
        const parts = node.input.map((name) => this.vector(name));
        if (node.input.some((name) => this.vectors.has(name)) && parts.every((p) => p !== null)) set(parts.flat());
        break;
      }
      default:
    }
  }

  private infer(node: NodeProto): void {
    const input = (i: number) => (node.input[i] === undefined || node.input[i] === '' ? null : this.shape(node.input[i]));
    const x = input(0);
    const output = node.output[0];
    if (sameShape.has(node.opType)) return this.set(output, x);
    if (broadcasting.has(node.opType)) return this.set(output, this.broadcast(node.input.map((name) => this.shape(name))));
    switch (node.opType) {
      case 'RNN':
      case 'LSTM':
      case 'GRU':
        return this.inferRecurrent(node, x);
      case 'Transpose': {
        if (!x) return;
        const perm = intsAttribute(node, 'perm') ?? x.map((_, i) => x.length - 1 - i);
        if (perm.every((p) => x[p]))
          this.set(
            output,
            perm.map((p) => x[p]!),
          );
        return;
      }
      case 'Squeeze': {
        if (!x) return;
        const axes = this.axes(node, 1, x.length);
        this.set(
          output,
          x.filter((dim, i) => (axes ? !axes.includes(i) : dim.length > 0)),
        );
        return;
      }
      case 'Unsqueeze': {
        const count = (intsAttribute(node, 'axes') ?? this.constants.integers(node.input[1]))?.length;
        if (!x || count === undefined) return;
        const axes = this.axes(node, 1, x.length + count)!;
        const rest = [...x];
        this.set(
          output,
          Array.from({ length: x.length + count }, (_, i) => (axes.includes(i) ? [] : rest.shift()!)),
        );
        return;
      }
      case 'Flatten': {
        if (!x) return;
        const axis = intAttribute(node, 'axis') ?? 1;
        this.set(output, [x.slice(0, axis).flat(), x.slice(axis).flat()]);
        return;
      }
      case 'Reshape': {
        const target = intsAttribute(node, 'shape') ?? this.vector(node.input[1] ?? '');
        if (x && target)
          this.set(
            output,
            reshapeDims(x, target, intAttribute(node, 'allowzero') === 1, (size) => this.atom(size)),
          );
        return;
      }
      case 'MatMul': {
        const b = input(1);
        if (!x || !b || x.length < 2 || b.length < 2) return;
        const lead =
          x.length === b.length
            ? this.broadcast([x.slice(0, -2), b.slice(0, -2)])
            : x.length > b.length
              ? x.slice(0, -2)
              : b.slice(0, -2);
        if (lead) this.set(output, [...lead, x[x.length - 2]!, b[b.length - 1]!]);
        return;
      }
      case 'Gemm': {
        const b = input(1);
        if (x?.length !== 2 || b?.length !== 2) return;
        this.set(output, [x[intAttribute(node, 'transA') ? 1 : 0]!, b[intAttribute(node, 'transB') ? 0 : 1]!]);
        return;
      }
      case 'Conv':
      case 'MaxPool':
      case 'AveragePool':
        return this.inferWindowed(node, x, node.opType === 'Conv' ? input(1) : null);
      case 'Gather': {
        const index = input(1);
        if (!x || !index) return;
        const axis = normalAxis(intAttribute(node, 'axis') ?? 0, x.length, node);
        this.set(output, [...x.slice(0, axis), ...index, ...x.slice(axis + 1)]);
        return;
      }
      case 'Concat': {
        const parts = node.input.map((name) => this.shape(name));
        if (!x || parts.some((p) => p?.length !== x.length)) return;
        const axis = normalAxis(intAttribute(node, 'axis') ?? 1, x.length, node);
        const sizes = parts.map((p) => dimSize(p![axis]!));
        const known = sizes.every((s) => s !== null);
        const joined = parts.length === 1 ? x[axis]! : known ? this.literal(sizes.reduce((a, b) => a + b, 0)) : [this.atom(null)];
        this.set(
          output,
          x.map((dim, i) => (i === axis ? joined : dim)),
        );
        return;
      }
      case 'Slice':
        return this.inferSlice(node, x);
      case 'Split': {
        if (!x) return;
        const axis = normalAxis(intAttribute(node, 'axis') ?? 0, x.length, node);
        const size = dimSize(x[axis]!);
        const even = size === null ? null : Math.ceil(size / node.output.length);
        const sizes =
          intsAttribute(node, 'split') ??
          this.constants.integers(node.input[1]) ??
          (size === null || even === null ? null : node.output.map((_, i) => Math.min(even, size - i * even)));
        if (size !== null && sizes && (sizes.length < node.output.length || sizes.some((s) => s < 0) || sum(sizes) !== size)) {
          throw new BadInputError(
            'bad-shape',
            `node ${nodeLabel(node)}: parts of [${sizes.join(', ')}] do not make up an axis of ${size}`,
          );
        }
        node.output.forEach((name, i) => {
          const part = node.output.length === 1 ? x[axis]! : sizes ? this.literal(sizes[i]!) : [this.atom(null)];
          this.set(
            name,
            x.map((dim, j) => (j === axis ? part : dim)),
          );
        });
        return;
      }
      default:
        if (node.opType.startsWith('Reduce')) this.inferReduce(node, x);
    }
  }

  private axes(node: NodeProto, input: number, rank: number): number[] | undefined {
    const axes = intsAttribute(node, 'axes') ?? this.constants.integers(node.input[input]);
    return axes?.map((a) => normalAxis(a, rank, node));
  }

  private inferRecurrent(node: NodeProto, x: Shape | null): void {
    const r = this.shape(node.input[2] ?? '');
    if (x?.length !== 3 || r?.length !== 3) return;
    const batchFirst = intAttribute(node, 'layout') === 1;
    const [time, batch] = batchFirst ? [x[1]!, x[0]!] : [x[0]!, x[1]!];
    const [directions, , hidden] = r as unknown as [Dim, Dim, Dim];
    this.set(node.output[0], batchFirst ? [batch, time, directions, hidden] : [time, directions, batch, hidden]);
    const state = batchFirst ? [batch, directions, hidden] : [directions, batch, hidden];
    this.set(node.output[1], state);
    this.set(node.output[2], state);
  }

  /** Operators whose window slides along the axes behind the channels: an axis that keeps its size stays the same axis. */
  private inferWindowed(node: NodeProto, x: Shape | null, weight: Shape | null): void {
    const rank = (x?.length ?? 2) - 2;
    const kernel = intsAttribute(node, 'kernel_shape') ?? weight?.slice(2).map((dim) => dimSize(dim) ?? 0);
    if (!x || rank < 1 || kernel?.length !== rank || (node.opType === 'Conv' && !weight)) return;
    const list = (name: string, otherwise: number, length = rank) =>
      intsAttribute(node, name) ?? new Array<number>(length).fill(otherwise);
    const [strides, dilations, pads] = [list('strides', 1), list('dilations', 1), list('pads', 0, 2 * rank)];
    const auto = stringAttribute(node, 'auto_pad') ?? 'NOTSET';
    const spatial = x.slice(2).map((dim, i) => {
      const span = dilations[i]! * (kernel[i]! - 1);
      const lost = auto.startsWith('SAME') ? 0 : span - (auto === 'NOTSET' ? pads[i]! + pads[rank + i]! : 0);
      if (lost === 0 && strides[i] === 1) return dim;
      const size = dimSize(dim);
      return size === null || intAttribute(node, 'ceil_mode') === 1
        ? [this.atom(null)]
        : this.literal(Math.floor((size - lost - 1) / strides[i]!) + 1);
    });
    this.set(node.output[0], [x[0]!, weight ? weight[0]! : x[1]!, ...spatial]);
  }

  private inferSlice(node: NodeProto, x: Shape | null): void {
    const list = (name: string, index: number) => intsAttribute(node, name) ?? this.constants.integers(node.input[index]);
    const starts = list('starts', 1);
    const ends = list('ends', 2);
    if (!x || !starts || !ends) return;
    const axes = list('axes', 3) ?? starts.map((_, i) => i);
    const steps = list('steps', 4) ?? undefined;
    const out = [...x];
    axes.forEach((rawAxis, i) => {
      const axis = normalAxis(rawAxis, x.length, node);
      const size = dimSize(x[axis]!);
      const single = starts[i] === -1 && (ends[i]! === 0 || ends[i]! >= 2 ** 31 - 1);
      if (size === null) {
        const whole = starts[i] === 0 && ends[i]! >= 2 ** 31 - 1 && (steps?.[i] ?? 1) === 1;
        if (!whole) out[axis] = single || (starts[i]! >= 0 && ends[i]! - starts[i]! === 1) ? [] : [this.atom(null)];
        return;
      }
      const range = sliceRanges([size], [starts[i]!], [ends[i]!], [0], steps && [steps[i]!], node)[0]!;
      if (range.count !== size || range.step !== 1) out[axis] = this.literal(range.count);
    });
    this.set(node.output[0], out);
  }

  private inferReduce(node: NodeProto, x: Shape | null): void {
    if (!x) return;
    const axes = this.axes(node, 1, x.length) ?? x.map((_, i) => i);
    const keep = (intAttribute(node, 'keepdims') ?? 1) === 1;
    this.set(node.output[0], keep ? x.map((dim, i) => (axes.includes(i) ? [] : dim)) : x.filter((_, i) => !axes.includes(i)));
  }

  private broadcast(shapes: readonly (Shape | null)[]): Shape | null {
    const known = shapes.filter((s): s is Shape => s !== null);
    if (known.length !== shapes.length || known.length === 0) return null;
    const rank = Math.max(...known.map((s) => s.length));
    return Array.from({ length: rank }, (_, i) => {
      const dims = known.map((s) => s[i - rank + s.length]).filter((d): d is Dim => d !== undefined && d.length > 0);
      // Of two equal sizes the one with the longer history is kept: a constant's atoms are the newest.
      return dims.reduce<Dim>((best, d) => (best.length === 0 || d[0]!.id < best[0]!.id ? d : best), []);
    });
  }
}
