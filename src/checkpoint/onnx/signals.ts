import { activation, activationNames } from '../../network/activation.js';
import { matrix, transposed } from '../../network/matrix.js';
import { walkSignal, type Signal, type SourceSignal } from '../../network/signal.js';
import { floatAttribute, intAttribute, intsAttribute, stringAttribute } from './attributes.js';
import { normalAxis, sliceRanges, type Constants } from './constants.js';
import { convolutionMatrix, spreadConvolution } from './convolution.js';
import { dimSize, type Shape } from './dims.js';
import { elementwise } from './elementwise.js';
import { isStandard, nodeLabel } from './model.js';
import type { NodeProto } from './onnx_pb.js';
import { isRecurrent } from './recurrent.js';
import type { Shapes } from './shapes.js';
import type { Tensor } from './tensor.js';
import { tokenInput } from './tokens.js';

/** Values that operators without a signal of their own cannot leave. */
const knownRanges: Readonly<Record<string, { lower: number; upper: number }>> = {
  Softmax: { lower: 0, upper: 1 },
  Sin: { lower: -1, upper: 1 },
  Cos: { lower: -1, upper: 1 },
  Erf: { lower: -1, upper: 1 },
  Sign: { lower: -1, upper: 1 },
};

/** Factors between 0 and 1: times these, a range holds zero as well. */
function anyShare(size: number): Signal {
  return { kind: 'source', size, name: '', operator: null, range: { lower: 0, upper: 1 }, recurrent: false };
}

/** True where a range would only be the stated one, of a tensor that is no input. */
function isFree(signal: Signal): boolean {
  let free = false;
  walkSignal(signal, (s) => (free ||= s.kind === 'source' && s.operator !== null && s.range === null && !s.within));
  return free;
}

/**
 * Reads backwards from a layer's X what it is made of, as a Signal over one time step. The features of a tensor are its
 * elements at one time and one sequence, in row-major order of the axes that are neither time nor batch. An operator that
 * is not understood ends the walk with a source that names it.
 */
export class SignalReader {
  private readonly known = new Map<string, Signal>();

  /**
   * @param outside ids of the atoms that are this layer's time and batch
   * @param layerOf index of the layer whose Y a tensor is, if that layer runs along the same time axis
   * @param anyPosition true where a single position of the sequence may be picked on the way: what is read then speaks of that one
   */
  constructor(
    private readonly constants: Constants,
    private readonly shapes: Shapes,
    private readonly graphInputs: ReadonlySet<string>,
    private readonly outside: ReadonlySet<number>,
    private readonly layerOf: (name: string) => number | null,
    private readonly anyPosition = false,
  ) {}

  /** @param size features that the reader of the tensor expects */
  read(name: string, size: number): Signal {
    const signal = this.signal(name);
    return signal && signal.size === size ? signal : this.source(name, size);
  }

  /** A tensor with all its features; null where these cannot be told from time and batch. */
  whole(name: string): Signal | null {
    return this.signal(name);
  }

  private signal(name: string): Signal | null {
    const known = this.known.get(name);
    if (known) return known;
    const size = this.featureCount(name);
    if (size === null) return null;
    const layer = this.layerOf(name);
    const node = this.constants.producer(name);
    const signal: Signal =
      layer !== null
        ? { kind: 'layer', size, layer }
        : ((node && isStandard(node) && !isRecurrent(node) ? this.through(node, name, size) : null) ?? this.source(name, size));
    this.known.set(name, signal);
    return signal;
  }

  private source(name: string, size: number): SourceSignal {
    const node = this.constants.producer(name);
    const within = node && isStandard(node) ? this.rangeAcross(node, size) : null;
    return {
      kind: 'source',
      size,
      name,
      operator: node ? { type: node.opType, node: nodeLabel(node) } : null,
      range: node && isStandard(node) ? (knownRanges[node.opType] ?? this.clipRange(node)) : null,
      recurrent: this.dependsOnRecurrence(name, new Set()),
      ...(within ? { within } : {}),
    };
  }

  /** The limits of a Clip, whatever it reads. */
  private clipRange(node: NodeProto): SourceSignal['range'] {
    if (node.opType !== 'Clip') return null;
    const limit = (name: string, input: number) =>
      this.constants.value(node.input[input] ?? '')?.data[0] ?? floatAttribute(node, name);
    const [lower, upper] = [limit('min', 1), limit('max', 2)];
    return lower !== undefined && upper !== undefined && lower <= upper ? { lower, upper } : null;
  }

  private dependsOnRecurrence(name: string, seen: Set<string>): boolean {
    if (seen.has(name) || this.graphInputs.has(name)) return false;
    seen.add(name);
    const node = this.constants.producer(name);
    if (!node) return false;
    return isRecurrent(node) || node.input.some((input) => this.dependsOnRecurrence(input, seen));
  }

  /** Sizes of the feature part of every axis (1 where there is none); null where an axis mixes features with time or batch. */
  private featureSizes(shape: Shape): number[] | null {
    const sizes = shape.map((dim) => {
      const outside = dim.filter((atom) => this.outside.has(atom.id)).length;
      if (outside > 0) return outside === dim.length ? 1 : null;
      return dimSize(dim);
    });
    return sizes.every((s) => s !== null) ? sizes : null;
  }

  private featureCount(name: string): number | null {
    const shape = this.shapes.shape(name);
    const sizes = shape && this.featureSizes(shape);
    return sizes ? sizes.reduce((a, b) => a * b, 1) : null;
  }

  /** The single axis that holds all features; null where they lie on several. */
  private featureAxis(name: string): number | null {
    const shape = this.shapes.shape(name);
    const sizes = shape && this.featureSizes(shape);
    if (!sizes) return null;
    const axes = sizes.flatMap((s, i) => (s > 1 ? [i] : []));
    return axes.length === 1 ? axes[0]! : axes.length === 0 ? sizes.length - 1 : null;
  }

  private through(node: NodeProto, name: string, size: number): Signal | null {
    const input = node.input[0] ?? '';
    const from = () => this.signal(input);
    if (this.anyPosition && this.picksPosition(node)) {
      const signal = from();
      return signal?.size === size ? signal : null;
    }
    const known = activationNames.find((a) => a === node.opType);
    if (known) {
      const signal = from();
      const act = activation(known, floatAttribute(node, 'alpha'), floatAttribute(node, 'beta'));
      return signal && { kind: 'activation', size, from: signal, activation: act };
    }
    switch (node.opType) {
      case 'Identity':
      case 'Cast':
      case 'Dropout':
      case 'Squeeze':
      case 'Unsqueeze':
      case 'Reshape':
      case 'Flatten': {
        // These keep the row-major order, and with it the order of the features.
        const signal = from();
        return signal?.size === size && this.keepsTime(input, name) ? signal : null;
      }
      case 'Transpose':
        return this.transpose(node, size);
      case 'Slice':
      case 'Split':
        return this.part(node, name, size);
      case 'Gather':
        return this.gather(node, size);
      case 'Concat':
        return this.concat(node, name, size);
      case 'Add':
      case 'Sub':
      case 'Mul':
      case 'Div':
        return this.arithmetic(node, name, size);
      case 'MatMul':
      case 'Gemm':
        return this.dense(node, size);
      case 'BatchNormalization':
        return this.batchNormalization(node, size);
      case 'LayerNormalization':
        return this.layerNormalization(node, size);
      case 'Softmax':
      case 'LogSoftmax': {
        const rank = this.shapes.shape(input)?.length ?? 0;
        const axis = intAttribute(node, 'axis');
        const signal = from();
        // Old operator sets have another default and take all axes behind it together, which is the same for the last axis alone.
        const last = axis === undefined ? rank === 2 : normalAxis(axis, rank, node) === rank - 1;
        const fits = signal?.size === size && last && this.featureAxis(input) === rank - 1;
        return fits ? { kind: 'softmax', size, from: signal, log: node.opType === 'LogSoftmax' } : null;
      }
      case 'ReduceMean':
      case 'ReduceSum':
        return this.reduced(node, size);
      case 'Conv':
        return this.pointwiseConvolution(node, size) ?? this.convolution(node, size);
      default:
        return elementwise(node, size, from, (operand) => this.operand(operand, name));
        return null;
    }
  }

  private concat(node: NodeProto, name: string, size: number): Signal | null {
    const shape = this.shapes.shape(name);
    const sizes = shape && this.featureSizes(shape);
    const parts = node.input.map((part) => this.signal(part));
    if (!sizes || !parts.every((p) => p !== null)) return null;
    const axis = normalAxis(intAttribute(node, 'axis') ?? 1, sizes.length, node);
    if (shape[axis]!.some((atom) => this.outside.has(atom.id))) return null;
    if (parts.reduce((sum, p) => sum + p.size, 0) !== size) return null;
    const joined: Signal = { kind: 'concat', size, parts };
    const outer = sizes.slice(0, axis).reduce((a, b) => a * b, 1);
    if (outer === 1) return joined;
    // Row by row: every part has a stretch of its own in each.
    const starts = parts.map((_, i) => parts.slice(0, i).reduce((sum, p) => sum + p.size, 0));
    const index = Array.from({ length: outer }, (_, row) =>
      parts.map((p, i) => Array.from({ length: p.size / outer }, (_, c) => starts[i]! + (row * p.size) / outer + c)),
    );
    return { kind: 'select', size, from: joined, index: Int32Array.from(index.flat(2)) };
  }

  /** Guards against a Reshape that moves time into another axis unseen: both sides must carry the same outside atoms. */
  private keepsTime(input: string, output: string): boolean {
    const atoms = (name: string) =>
      (this.shapes.shape(name) ?? [])
        .flat()
        .map((a) => a.id)
        .filter((id) => this.outside.has(id))
        .join();
    return atoms(input) === atoms(output);
  }

  /** Gather or Slice of one position along time, which leaves the features as they are. */
  private picksPosition(node: NodeProto): boolean {
    const before = this.shapes.shape(node.input[0] ?? '');
    if (!before || (node.opType !== 'Gather' && node.opType !== 'Slice')) return false;
    const axes =
      node.opType === 'Gather'
        ? [intAttribute(node, 'axis') ?? 0]
        : (intsAttribute(node, 'axes') ?? this.constants.integers(node.input[3]) ?? [0]);
    const along = axes.map((axis) => before[normalAxis(axis, before.length, node)]!);
    return along.length === 1 && along[0]!.length > 0 && along[0]!.every((atom) => this.outside.has(atom.id));
  }

  private transpose(node: NodeProto, size: number): Signal | null {
    const input = node.input[0]!;
    const from = this.signal(input);
    const shape = this.shapes.shape(input);
    const sizes = shape && this.featureSizes(shape);
    if (!from || !sizes) return null;
    const perm = intsAttribute(node, 'perm') ?? sizes.map((_, i) => sizes.length - 1 - i);
    const featureOrder = perm.filter((axis) => sizes[axis]! > 1);
    if (featureOrder.every((axis, i) => i === 0 || axis > featureOrder[i - 1]!)) return from;
    const stride = sizes.map((_, i) => sizes.slice(i + 1).reduce((a, b) => a * b, 1));
    const index = new Int32Array(size);
    const at = perm.map(() => 0);
    for (let i = 0; i < size; i++) {
      index[i] = perm.reduce((sum, axis, j) => sum + at[j]! * stride[axis]!, 0);
      for (let j = perm.length - 1; j >= 0 && ++at[j]! >= sizes[perm[j]!]!; j--) at[j] = 0;
    }
    return { kind: 'select', size, from, index };
  }

  /** Features `start`, `start + step`, … of one axis. */
  private select(input: string, axis: number, indices: readonly number[]): Signal | null {
    const from = this.signal(input);
    const shape = this.shapes.shape(input);
    const sizes = shape && this.featureSizes(shape);
    // Only a selection among features is one; a selection in time changes which step is read.
    if (!from || !sizes || shape[axis]!.some((atom) => this.outside.has(atom.id))) return null;
    if (indices.some((i) => !(i >= 0 && i < sizes[axis]!))) return null;
    const inner = sizes.slice(axis + 1).reduce((a, b) => a * b, 1);
    const outer = sizes.slice(0, axis).reduce((a, b) => a * b, 1);
    const index: number[] = [];
    for (let o = 0; o < outer; o++)
      for (const i of indices) for (let k = 0; k < inner; k++) index.push((o * sizes[axis]! + i) * inner + k);
    return { kind: 'select', size: index.length, from, index: Int32Array.from(index) };
  }

  private part(node: NodeProto, name: string, size: number): Signal | null {
    const input = node.input[0]!;
    const before = this.shapes.shape(input);
    const after = this.shapes.shape(name);
    if (!before || !after) return null;
    const changed = before.flatMap((dim, i) => (dimSize(dim) !== dimSize(after[i]!) ? [i] : []));
    // The same size can still be the reverse order.
    if (changed.length === 0) return this.constants.integers(node.input[4])?.some((s) => s < 0) ? null : this.signal(input);
    const axis = changed[0]!;
    const full = dimSize(before[axis]!);
    if (changed.length !== 1 || full === null) return null;
    let start = 0;
    let step = 1;
    const count = dimSize(after[axis]!)!;
    if (node.opType === 'Slice') {
      const list = (key: string, i: number) => intsAttribute(node, key) ?? this.constants.integers(node.input[i]) ?? undefined;
      const range = sliceRanges(
        before.map((d) => dimSize(d) ?? 0),
        list('starts', 1)!,
        list('ends', 2)!,
        list('axes', 3),
        list('steps', 4),
        node,
      )[axis]!;
      start = range.start;
      step = range.step;
    } else {
      for (const output of node.output) {
        if (output === name) break;
        start += dimSize(this.shapes.shape(output)![axis]!)!;
      }
    }
    const selected = this.select(
      input,
      axis,
      Array.from({ length: count }, (_, i) => start + i * step),
    );
    return selected?.size === size ? selected : null;
  }

  private gather(node: NodeProto, size: number): Signal | null {
    const [data, index] = node.input as [string, string];
    const table = this.constants.value(data);
    const axis = intAttribute(node, 'axis') ?? 0;
    if (table) {
      // An embedding: the token is a graph input, the row is the features.
      if (axis !== 0 || table.dims.length !== 2 || this.featureCount(index) !== 1) return null;
      const below = tokenInput(index, table.dims[0]!, this.constants, (name) => {
        const signal = this.featureCount(name) === 1 ? this.signal(name) : null;
        return signal?.kind === 'source' && signal.operator === null ? signal.name : null;
      });
      if (below === null) return null;
      return { kind: 'table', size, source: below, rows: matrix(table.dims[0]!, table.dims[1]!, table.data) };
    }
    const indices = this.constants.integers(index);
    const shape = this.shapes.shape(data);
    if (!indices || !shape) return null;
    const normal = normalAxis(axis, shape.length, node);
    const full = dimSize(shape[normal]!);
    if (full === null) return null;
    return this.select(
      data,
      normal,
      indices.map((i) => (i < 0 ? i + full : i)),
    );
  }

  /** A constant operand as one number per feature of `output`; null where it varies along time or batch. */
  private perFeature(value: Tensor, output: string): Float64Array | null {
    const shape = this.shapes.shape(output);
    const sizes = shape && this.featureSizes(shape);
    if (!sizes) return null;
    const dims = sizes.map((_, i) => value.dims[i - sizes.length + value.dims.length] ?? 1);
    if (value.dims.length > sizes.length || dims.some((d, i) => d !== 1 && d !== sizes[i])) return null;
    const total = sizes.reduce((a, b) => a * b, 1);
    const stride = dims.map((d, i) => (d === 1 ? 0 : dims.slice(i + 1).reduce((a, b) => a * b, 1)));
    const at = sizes.map(() => 0);
    return Float64Array.from({ length: total }, () => {
      const v = value.data[at.reduce((sum, c, i) => sum + c * stride[i]!, 0)]!;
      for (let j = sizes.length - 1; j >= 0 && ++at[j]! >= sizes[j]!; j--) at[j] = 0;
      return v;
    });
  }

  private arithmetic(node: NodeProto, name: string, size: number): Signal | null {
    const [a, b] = node.input as [string, string];
    const op = node.opType;
    const constantA = this.constants.value(a);
    const constantB = this.constants.value(b);
    const values = constantB ? this.perFeature(constantB, name) : constantA ? this.perFeature(constantA, name) : null;
    if (constantA || constantB) {
      const signal = this.signal(constantB ? a : b);
      if (!values || signal?.size !== size) return null;
      if (op === 'Mul') return { kind: 'scale', size, from: signal, factors: values };
      if (op === 'Div') return constantB ? { kind: 'scale', size, from: signal, factors: values.map((v) => 1 / v) } : null;
      const shift = (value: Float64Array): Signal => ({ kind: 'constant', size, value });
      if (op === 'Add') return { kind: 'sum', size, parts: [signal, shift(values)] };
      return constantB
        ? { kind: 'sum', size, parts: [signal, shift(values.map((v) => -v))] }
        : {
            kind: 'sum',
            size,
            parts: [shift(values), { kind: 'scale', size, from: signal, factors: new Float64Array(size).fill(-1) }],
          };
    }
    const left = this.signal(a);
    const right = this.signal(b);
    if (left?.size !== size || right?.size !== size || op === 'Div') return null;
    if (op === 'Mul') return { kind: 'product', size, parts: [left, right] };
    return {
      kind: 'sum',
      size,
      parts: [left, op === 'Add' ? right : { kind: 'scale', size, from: right, factors: new Float64Array(size).fill(-1) }],
    };
  }

  private dense(node: NodeProto, size: number): Signal | null {
    const [a, b, c] = node.input as [string, string, string | undefined];
    const weight = this.constants.value(b);
    const from = this.signal(a);
    const rank = this.shapes.shape(a)?.length ?? 0;
    if (weight?.dims.length !== 2 || !from || this.featureAxis(a) !== rank - 1 || intAttribute(node, 'transA')) return null;
    const stored = matrix(weight.dims[0]!, weight.dims[1]!, weight.data);
    const isGemm = node.opType === 'Gemm';
    const alpha = isGemm ? (floatAttribute(node, 'alpha') ?? 1) : 1;
    const oriented = isGemm && intAttribute(node, 'transB') ? stored : transposed(stored);
    if (oriented.rows !== size || oriented.cols !== from.size) return null;
    const scaled =
      alpha === 1
        ? oriented
        : matrix(
            oriented.rows,
            oriented.cols,
            oriented.data.map((v) => v * alpha),
          );
    const linear: Signal = { kind: 'linear', size, from, matrix: scaled };
    if (!isGemm || c === undefined || c === '') return linear;
    const bias = this.constants.value(c);
    const values = bias && this.perFeature(bias, node.output[0]!);
    const beta = floatAttribute(node, 'beta') ?? 1;
    return values && { kind: 'sum', size, parts: [linear, { kind: 'constant', size, value: values.map((v) => v * beta) }] };
  }

  /** A constant operand of an elementwise operator, one number per feature; null: absent or not constant. */
  private operand(name: string, output: string): Float64Array | null {
    const value = name === '' ? null : this.constants.value(name);
    return value && this.perFeature(value, output);
  }

  private layerNormalization(node: NodeProto, size: number): Signal | null {
    const input = node.input[0]!;
    const from = this.signal(input);
    const rank = this.shapes.shape(input)?.length ?? 0;
    const axis = normalAxis(intAttribute(node, 'axis') ?? -1, rank, node);
    if (from?.size !== size || axis !== rank - 1 || this.featureAxis(input) !== axis) return null;
    const scale = this.operand(node.input[1] ?? '', node.output[0]!);
    const shift = node.input[2] ? this.operand(node.input[2], node.output[0]!) : new Float64Array(size);
    const epsilon = floatAttribute(node, 'epsilon') ?? 1e-5;
    return scale && shift ? { kind: 'normalised', size, from, scale, shift, epsilon } : null;
  }

  /** The sum or mean over all features of a position. */
  private reduced(node: NodeProto, size: number): Signal | null {
    const input = node.input[0]!;
    const from = this.signal(input);
    const rank = this.shapes.shape(input)?.length ?? 0;
    const axes = intsAttribute(node, 'axes') ?? this.constants.integers(node.input[1]);
    if (!from || size !== 1 || axes?.length !== 1 || this.featureAxis(input) !== normalAxis(axes[0]!, rank, node)) return null;
    const weight = node.opType === 'ReduceMean' ? 1 / from.size : 1;
    return { kind: 'linear', size, from, matrix: matrix(1, from.size, new Float64Array(from.size).fill(weight)) };
  }

  /** A convolution whose kernel covers one position: a dense layer over the channels. */
  private pointwiseConvolution(node: NodeProto, size: number): Signal | null {
    const input = node.input[0]!;
    const from = this.signal(input);
    const kernel = convolutionMatrix(node, this.constants);
    if (
      !from ||
      kernel?.taps !== 1 ||
      this.featureAxis(input) !== 1 ||
      kernel.matrix.cols !== from.size ||
      kernel.matrix.rows !== size
    )
      return null;
    if (!this.keepsTime(input, node.output[0]!)) return null;
    const linear: Signal = { kind: 'linear', size, from, matrix: kernel.matrix };
    return kernel.bias ? { kind: 'sum', size, parts: [linear, { kind: 'constant', size, value: kernel.bias }] } : linear;
  }

  /** A convolution along axes that hold features: a sparse matrix over all of them. */
  private convolution(node: NodeProto, size: number): Signal | null {
    const input = node.input[0]!;
    const from = this.signal(input);
    const shape = this.shapes.shape(input);
    const sizes = shape && this.featureSizes(shape);
    const isFeature = shape?.slice(2).every((dim) => dim.every((atom) => !this.outside.has(atom.id)));
    if (!from || !sizes || sizes[0] !== 1 || !isFeature) return null;
    const spread = spreadConvolution(node, sizes.slice(1), this.constants);
    if (spread?.matrix.rows !== size || spread.matrix.cols !== from.size) return null;
    const linear: Signal = { kind: 'linear', size, from, matrix: spread.matrix };
    return spread.bias ? { kind: 'sum', size, parts: [linear, { kind: 'constant', size, value: spread.bias }] } : linear;
  }

  /**
   * A signal whose range holds the values of an operator that mixes positions: the range of its input is the same at all of
   * them. A convolution also reads zeros beyond the ends.
   */
  private rangeAcross(node: NodeProto, size: number): Signal | null {
    const input = node.input[0] ?? '';
    const shape = this.shapes.shape(input);
    const mixes = ['Conv', 'MaxPool', 'AveragePool', 'GlobalAveragePool', 'GlobalMaxPool'].includes(node.opType);
    if (!mixes || !shape) return null;
    // Its own spatial axes are positions here, whatever the layer calls time.
    const outside = new Set([...this.outside, ...[shape[0]!, ...shape.slice(2)].flat().map((atom) => atom.id)]);
    const reader = new SignalReader(this.constants, this.shapes, this.graphInputs, outside, this.layerOf);
    const from = reader.whole(input);
    if (!from || isFree(from)) return null;
    const padded: Signal = { kind: 'product', size: from.size, parts: [from, anyShare(from.size)] };
    const reach =
      intsAttribute(node, 'pads')?.some((p) => p > 0) || stringAttribute(node, 'auto_pad')?.startsWith('SAME') ? padded : from;
    if (node.opType !== 'Conv') return from.size === size ? reach : null;
    const kernel = convolutionMatrix(node, this.constants);
    if (!kernel || kernel.matrix.rows !== size || kernel.matrix.cols !== from.size * kernel.taps) return null;
    const parts = new Array<Signal>(kernel.taps).fill(reach);
    const taps: Signal = { kind: 'concat', size: kernel.matrix.cols, parts };
    const linear: Signal = { kind: 'linear', size, from: taps, matrix: kernel.matrix };
    return kernel.bias ? { kind: 'sum', size, parts: [linear, { kind: 'constant', size, value: kernel.bias }] } : linear;
  }

  private batchNormalization(node: NodeProto, size: number): Signal | null {
    const from = this.signal(node.input[0]!);
    const parameters = [1, 2, 3, 4].map((i) => this.constants.value(node.input[i] ?? ''));
    const [scale, bias, mean, variance] = parameters.map((p) => p?.data);
    if (!from || this.featureAxis(node.input[0]!) !== 1 || !scale || !bias || !mean || !variance || scale.length !== size)
      return null;
    const epsilon = floatAttribute(node, 'epsilon') ?? 1e-5;
    const factors = scale.map((s, i) => s / Math.sqrt(variance[i]! + epsilon));
    const shift = bias.map((v, i) => v - mean[i]! * factors[i]!);
    return {
      kind: 'sum',
      size,
      parts: [
        { kind: 'scale', size, from, factors },
        { kind: 'constant', size, value: shift },
      ],
    };
  }
}
