import { activation, activationNames } from '../../network/activation.js';
import { walkSignal, type Signal, type SourceSignal } from '../../network/signal.js';
import {
  arithmetic,
  batchNormalization,
  convolution,
  dense,
  layerNormalization,
  operand,
  pointwiseConvolution,
  reduced,
  softmax,
} from './arithmetic.js';
import { floatAttribute, intAttribute, intsAttribute, stringAttribute } from './attributes.js';
import { normalAxis, type Constants } from './constants.js';
import { convolutionMatrix } from './convolution.js';
import { elementwise } from './elementwise.js';
import { Features } from './features.js';
import { isStandard, nodeLabel } from './model.js';
import type { NodeProto } from './onnx_pb.js';
import { isRecurrent } from './recurrent.js';
import { concat, gather, part, transpose } from './selection.js';
import type { Shapes } from './shapes.js';
import { DataType, isFloat } from './tensor.js';

/** What reading one operator needs to know of the graph. */
export interface SignalContext {
  readonly constants: Constants;
  readonly features: Features;
  /** A tensor as a signal; null where its features cannot be told from time and batch. */
  signal(name: string): Signal | null;
}

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
 * Reads backwards from a layer's X what it is made of, as a Signal over one time step. An operator that is not understood
 * ends the walk with a source that names it.
 */
export class SignalReader implements SignalContext {
  readonly features: Features;
  private readonly known = new Map<string, Signal>();

  /**
   * @param outside ids of the atoms that are this layer's time and batch
   * @param layerOf index of the layer whose Y a tensor is, if that layer runs along the same time axis
   * @param anyPosition true where a single position of the sequence may be picked on the way: what is read then speaks of that one
   */
  constructor(
    readonly constants: Constants,
    private readonly shapes: Shapes,
    private readonly graphInputs: ReadonlySet<string>,
    outside: ReadonlySet<number>,
    private readonly layerOf: (name: string) => number | null,
    private readonly anyPosition = false,
  ) {
    this.features = new Features(shapes, outside);
  }

  /** @param size features that the reader of the tensor expects */
  read(name: string, size: number): Signal {
    const signal = this.signal(name);
    return signal && signal.size === size ? signal : this.source(name, size);
  }

  signal(name: string): Signal | null {
    const known = this.known.get(name);
    if (known) return known;
    const size = this.features.count(name);
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
      case 'Cast':
        return isFloat(intAttribute(node, 'to') ?? DataType.FLOAT) ? this.unchanged(input, name, size) : null;
      case 'Identity':
      case 'Dropout':
      case 'Squeeze':
      case 'Unsqueeze':
      case 'Reshape':
      case 'Flatten':
        return this.unchanged(input, name, size);
      case 'Transpose':
        return transpose(this, node, size);
      case 'Slice':
      case 'Split':
        return part(this, node, name, size);
      case 'Gather':
        return gather(this, node, size);
      case 'Concat':
        return concat(this, node, name, size);
      case 'Add':
      case 'Sub':
      case 'Mul':
      case 'Div':
        return arithmetic(this, node, name, size);
      case 'MatMul':
      case 'Gemm':
        return dense(this, node, size);
      case 'BatchNormalization':
        return batchNormalization(this, node, size);
      case 'LayerNormalization':
        return layerNormalization(this, node, size);
      case 'Softmax':
      case 'LogSoftmax':
        return softmax(this, node, size);
      case 'ReduceMean':
      case 'ReduceSum':
        return reduced(this, node, size);
      case 'Conv':
        return pointwiseConvolution(this, node, size) ?? convolution(this, node, size);
      case 'Clip': {
        // What it clips may be unknown; its limits are not.
        const signal = from();
        if (signal && isFree(signal) && this.clipRange(node)) return null;
        return elementwise(node, size, from, (constant) => operand(this, constant, name));
      }
      default:
        return elementwise(node, size, from, (constant) => operand(this, constant, name));
    }
  }

  /** Operators that keep the row-major order, and with it the order of the features. */
  private unchanged(input: string, name: string, size: number): Signal | null {
    const signal = this.signal(input);
    return signal?.size === size && this.features.keepsTime(input, name) ? signal : null;
  }

  /** Gather or Slice of one position along time, which leaves the features as they are. */
  private picksPosition(node: NodeProto): boolean {
    const before = this.features.shape(node.input[0] ?? '');
    if (!before || (node.opType !== 'Gather' && node.opType !== 'Slice')) return false;
    const axes =
      node.opType === 'Gather'
        ? [intAttribute(node, 'axis') ?? 0]
        : (intsAttribute(node, 'axes') ?? this.constants.integers(node.input[3]) ?? [0]);
    const along = axes.map((axis) => before[normalAxis(axis, before.length, node)]!);
    return along.length === 1 && along[0]!.length > 0 && along[0]!.every((atom) => this.features.outside.has(atom.id));
  }

  /**
   * A signal whose range holds the values of an operator that mixes positions: the range of its input is the same at all of
   * them. A convolution also reads zeros beyond the ends.
   */
  private rangeAcross(node: NodeProto, size: number): Signal | null {
    const input = node.input[0] ?? '';
    const shape = this.features.shape(input);
    const mixes = ['Conv', 'MaxPool', 'AveragePool', 'GlobalAveragePool', 'GlobalMaxPool'].includes(node.opType);
    if (!mixes || !shape) return null;
    // Its own spatial axes are positions here, whatever the layer calls time.
    const outside = new Set([...this.features.outside, ...[shape[0]!, ...shape.slice(2)].flat().map((atom) => atom.id)]);
    const reader = new SignalReader(this.constants, this.shapes, this.graphInputs, outside, this.layerOf);
    const from = reader.signal(input);
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
}
