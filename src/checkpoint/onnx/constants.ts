import { BadInputError } from '../../errors.js';
import { floatAttribute, floatsAttribute, intAttribute, intsAttribute, tensorAttribute } from './attributes.js';
import { isStandard, nodeLabel } from './model.js';
import type { GraphProto, NodeProto, TensorProto } from './onnx_pb.js';
import { DataType, elementCount, joinedAlong, readTensor, type ExternalData, type Tensor } from './tensor.js';

/**
 * Constant folding on demand: the value of a tensor where it follows from initializers and Constant nodes alone. Exporters
 * hide recurrent weights behind Unsqueeze(Concat(Slice(Constant))); integers that describe shapes need a little arithmetic too.
 */
export class Constants {
  private readonly initializers = new Map<string, TensorProto>();
  private readonly producers = new Map<string, NodeProto>();
  private readonly folded = new Map<string, Tensor | null>();

  constructor(
    private readonly graph: Pick<GraphProto, 'node' | 'initializer'>,
    private readonly external: ExternalData,
  ) {
    for (const tensor of graph.initializer) this.initializers.set(tensor.name, tensor);
    for (const node of graph.node) for (const output of node.output) this.producers.set(output, node);
  }

  /** The node that makes a tensor; undefined for inputs and initializers. */
  producer(name: string): NodeProto | undefined {
    return this.producers.get(name);
  }

  /** What follows where these tensors have these values. */
  given(...tensors: readonly TensorProto[]): Constants {
    const { node, initializer } = this.graph;
    return new Constants({ node, initializer: [...initializer, ...tensors] }, this.external);
  }

  value(name: string): Tensor | null {
    if (name === '') return null;
    const known = this.folded.get(name);
    if (known !== undefined) return known;
    // A cycle, which no valid graph has, ends here instead of recursing for ever.
    this.folded.set(name, null);
    const initializer = this.initializers.get(name);
    const node = this.producers.get(name);
    const value = initializer ? readTensor(initializer, this.external) : node && isStandard(node) ? this.fold(node) : null;
    this.folded.set(name, value);
    return value;
  }

  /** A constant list of integers: axes, shapes, starts. */
  integers(name: string | undefined): number[] | null {
    const tensor = name === undefined ? null : this.value(name);
    return tensor ? Array.from(tensor.data) : null;
  }

  /** True when every element is zero, also where the shape is only known at run time (zero initial states). */
  isZero(name: string): boolean {
    const constant = this.value(name);
    if (constant) return constant.data.every((v) => v === 0);
    const node = this.producers.get(name);
    if (!node || !isStandard(node)) return false;
    switch (node.opType) {
      case 'ConstantOfShape': {
        const value = tensorAttribute(node, 'value');
        return !value || readTensor(value, this.external).data.every((v) => v === 0);
      }
      case 'Cast':
      case 'Expand':
      case 'Identity':
      case 'Gather':
      case 'Reshape':
      case 'Slice':
      case 'Squeeze':
      case 'Tile':
      case 'Transpose':
      case 'Unsqueeze':
        return this.isZero(node.input[0] ?? '');
      case 'Concat':
        return node.input.every((input) => this.isZero(input));
      default:
        return false;
    }
  }

  private fold(node: NodeProto): Tensor | null {
    if (node.opType === 'Constant') return this.constant(node);
    const operation = foldable[node.opType];
    if (!operation) return null;
    const inputs: (Tensor | null)[] = [];
    for (const name of node.input) {
      const value = this.value(name);
      if (!value && name !== '') return null;
      inputs.push(value);
    }
    return operation(node, inputs);
  }

  private constant(node: NodeProto): Tensor | null {
    const tensor = tensorAttribute(node, 'value');
    if (tensor) return readTensor(tensor, this.external);
    const float = floatAttribute(node, 'value_float');
    if (float !== undefined) return { dims: [], type: DataType.FLOAT, data: Float64Array.of(float) };
    const floats = floatsAttribute(node, 'value_floats');
    if (floats) return { dims: [floats.length], type: DataType.FLOAT, data: Float64Array.from(floats) };
    const int = intAttribute(node, 'value_int');
    if (int !== undefined) return { dims: [], type: DataType.INT64, data: Float64Array.of(int) };
    const ints = intsAttribute(node, 'value_ints');
    if (ints) return { dims: [ints.length], type: DataType.INT64, data: Float64Array.from(ints) };
    return null;
  }
}

type Operation = (node: NodeProto, inputs: readonly (Tensor | null)[]) => Tensor | null;

/** Axis as ONNX counts it: negative from the end. */
export function normalAxis(axis: number, rank: number, node: NodeProto): number {
  const normal = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(normal) || normal < 0 || normal >= Math.max(rank, 1)) {
    throw new BadInputError('bad-attribute', `node ${nodeLabel(node)}: axis ${axis} does not exist in rank ${rank}`);
  }
  return normal;
}

/** An operand that was an attribute in old operator sets and is an input in new ones. */
function integersOf(node: NodeProto, name: string, input: Tensor | null | undefined): number[] | undefined {
  return input ? Array.from(input.data) : intsAttribute(node, name);
}

/** Copies the elements at `index(position)`, where a position is a coordinate of the output. */
function gatherElements(source: Tensor, dims: readonly number[], index: (coordinate: readonly number[]) => number): Tensor {
  const data = new Float64Array(elementCount(dims));
  const coordinate = dims.map(() => 0);
  for (let i = 0; i < data.length; i++) {
    data[i] = source.data[index(coordinate)]!;
    for (let axis = dims.length - 1; axis >= 0; axis--) {
      coordinate[axis] = coordinate[axis]! + 1;
      if (coordinate[axis]! < dims[axis]!) break;
      coordinate[axis] = 0;
    }
  }
  return { dims, type: source.type, data };
}

function strides(dims: readonly number[]): number[] {
  const out = dims.map(() => 1);
  for (let i = dims.length - 2; i >= 0; i--) out[i] = out[i + 1]! * dims[i + 1]!;
  return out;
}

/** Start, step and count along every axis of a Slice with ONNX's clamping rules. */
export function sliceRanges(
  dims: readonly number[],
  starts: readonly number[],
  ends: readonly number[],
  axes: readonly number[] | undefined,
  steps: readonly number[] | undefined,
  node: NodeProto,
): { start: number; step: number; count: number }[] {
  const ranges = dims.map((size) => ({ start: 0, step: 1, count: size }));
  starts.forEach((rawStart, i) => {
    const axis = normalAxis(axes?.[i] ?? i, dims.length, node);
    const size = dims[axis]!;
    const step = steps?.[i] ?? 1;
    if (step === 0) throw new BadInputError('bad-attribute', `node ${nodeLabel(node)}: step 0`);
    const clamp = (v: number, low: number, high: number) => Math.min(Math.max(v < 0 ? v + size : v, low), high);
    const start = step > 0 ? clamp(rawStart, 0, size) : clamp(rawStart, 0, size - 1);
    const end = step > 0 ? clamp(ends[i]!, 0, size) : clamp(ends[i]!, -1, size - 1);
    ranges[axis] = { start, step, count: Math.max(0, Math.ceil((end - start) / step)) };
  });
  return ranges;
}

function slice(node: NodeProto, inputs: readonly (Tensor | null)[]): Tensor | null {
  const source = inputs[0];
  const starts = integersOf(node, 'starts', inputs[1]);
  const ends = integersOf(node, 'ends', inputs[2]);
  if (!source || !starts || !ends) return null;
  const ranges = sliceRanges(
    source.dims,
    starts,
    ends,
    integersOf(node, 'axes', inputs[3]),
    inputs[4] ? Array.from(inputs[4].data) : undefined,
    node,
  );
  const stride = strides(source.dims);
  return gatherElements(
    source,
    ranges.map((r) => r.count),
    (at) => ranges.reduce((sum, r, axis) => sum + (r.start + r.step * at[axis]!) * stride[axis]!, 0),
  );
}

function transpose(node: NodeProto, [source]: readonly (Tensor | null)[]): Tensor | null {
  if (!source) return null;
  const perm = intsAttribute(node, 'perm') ?? source.dims.map((_, i) => source.dims.length - 1 - i);
  const stride = strides(source.dims);
  return gatherElements(
    source,
    perm.map((p) => source.dims[p]!),
    (at) => perm.reduce((sum, p, axis) => sum + at[axis]! * stride[p]!, 0),
  );
}

function concat(node: NodeProto, inputs: readonly (Tensor | null)[]): Tensor | null {
  const [first, ...rest] = inputs.filter((t) => t !== null);
  if (!first) return null;
  return joinedAlong([first, ...rest], normalAxis(intAttribute(node, 'axis') ?? 1, first.dims.length, node));
}

function gather(node: NodeProto, [source, indices]: readonly (Tensor | null)[]): Tensor | null {
  if (!source || !indices) return null;
  const axis = normalAxis(intAttribute(node, 'axis') ?? 0, source.dims.length, node);
  const size = source.dims[axis]!;
  const stride = strides(source.dims);
  const dims = [...source.dims.slice(0, axis), ...indices.dims, ...source.dims.slice(axis + 1)];
  const rank = indices.dims.length;
  const indexStride = strides(indices.dims);
  return gatherElements(source, dims, (at) => {
    const row = indices.data[indices.dims.reduce((sum, _, i) => sum + at[axis + i]! * indexStride[i]!, 0)]!;
    let sum = (row < 0 ? row + size : row) * stride[axis]!;
    for (let i = 0; i < source.dims.length; i++) {
      if (i !== axis) sum += at[i < axis ? i : i + rank - 1]! * stride[i]!;
    }
    return sum;
  });
}

/** Elementwise arithmetic with a scalar or an equal shape, as shape computations need it. */
function arithmetic(compute: (a: number, b: number) => number, type?: DataType): Operation {
  return (_node, [a, b]) => {
    if (!a || !b) return null;
    const long = a.data.length >= b.data.length ? a : b;
    if (a.data.length !== b.data.length && a.data.length !== 1 && b.data.length !== 1) return null;
    const data = long.data.map((_, i) => compute(a.data[a.data.length === 1 ? 0 : i]!, b.data[b.data.length === 1 ? 0 : i]!));
    return { dims: long.dims, type: type ?? a.type, data };
  };
}

function comparison(holds: (a: number, b: number) => boolean): Operation {
  return arithmetic((a, b) => (holds(a, b) ? 1 : 0), DataType.BOOL);
}

const foldable: Record<string, Operation> = {
  Identity: (_node, [source]) => source ?? null,
  Dropout: (_node, [source]) => source ?? null,
  Transpose: transpose,
  Slice: slice,
  Concat: concat,
  Gather: gather,
  Add: arithmetic((a, b) => a + b),
  Sub: arithmetic((a, b) => a - b),
  Mul: arithmetic((a, b) => a * b),
  Equal: comparison((a, b) => a === b),
  Less: comparison((a, b) => a < b),
  LessOrEqual: comparison((a, b) => a <= b),
  Greater: comparison((a, b) => a > b),
  GreaterOrEqual: comparison((a, b) => a >= b),
  And: comparison((a, b) => a !== 0 && b !== 0),
  Or: comparison((a, b) => a !== 0 || b !== 0),
  Where: (_node, [condition, a, b]) => {
    if (!condition || !a || !b) return null;
    const parts = [condition, a, b];
    const long = parts.reduce((x, y) => (y.data.length > x.data.length ? y : x));
    if (parts.some((t) => t.data.length !== long.data.length && t.data.length !== 1)) return null;
    const at = (t: Tensor, i: number) => t.data[t.data.length === 1 ? 0 : i]!;
    return { dims: long.dims, type: a.type, data: long.data.map((_, i) => at(at(condition, i) ? a : b, i)) };
  },
  Not: (_node, [source]) => (source ? { ...source, data: source.data.map((v) => (v === 0 ? 1 : 0)) } : null),
  Cast: (node, [source]) => (source ? { ...source, type: intAttribute(node, 'to') ?? source.type } : null),
  Unsqueeze: (node, [source, axesInput]) => {
    const axes = integersOf(node, 'axes', axesInput);
    if (!source || !axes) return null;
    const rank = source.dims.length + axes.length;
    const inserted = new Set(axes.map((a) => normalAxis(a, rank, node)));
    const rest = [...source.dims];
    return { ...source, dims: Array.from({ length: rank }, (_, i) => (inserted.has(i) ? 1 : rest.shift()!)) };
  },
  Squeeze: (node, [source, axesInput]) => {
    if (!source) return null;
    const axes = integersOf(node, 'axes', axesInput)?.map((a) => normalAxis(a, source.dims.length, node));
    return { ...source, dims: source.dims.filter((d, i) => (axes ? !axes.includes(i) : d !== 1)) };
  },
  Reshape: (node, [source, shapeInput]) => {
    const shape = integersOf(node, 'shape', shapeInput);
    if (!source || !shape) return null;
    const dims = shape.map((d, i) => (d === 0 && !intAttribute(node, 'allowzero') ? source.dims[i]! : d));
    const free = dims.indexOf(-1);
    if (free >= 0) dims[free] = source.data.length / elementCount(dims.filter((_, i) => i !== free));
    if (elementCount(dims) !== source.data.length) {
      throw new BadInputError(
        'bad-attribute',
        `node ${nodeLabel(node)}: [${source.dims.join(', ')}] cannot be reshaped to [${shape.join(', ')}]`,
      );
    }
    return { ...source, dims };
  },
};
