import { matrix, transposed } from '../../network/matrix.js';
import type { Signal } from '../../network/signal.js';
import { floatAttribute, intAttribute, intsAttribute } from './attributes.js';
import { normalAxis } from './constants.js';
import { convolutionMatrix, spreadConvolution } from './convolution.js';
import type { NodeProto } from './onnx_pb.js';
import type { SignalContext } from './signals.js';

/** Operators that compute each feature from its own kind or from all of a position: sums and products, dense layers, normalisations. */

export function arithmetic(context: SignalContext, node: NodeProto, name: string, size: number): Signal | null {
  const [a, b] = node.input as [string, string];
  const op = node.opType;
  const constantA = context.constants.value(a);
  const constantB = context.constants.value(b);
  const values = constantB
    ? context.features.perFeature(constantB, name)
    : constantA
      ? context.features.perFeature(constantA, name)
      : null;
  if (constantA || constantB) {
    const signal = context.signal(constantB ? a : b);
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
  const left = context.signal(a);
  const right = context.signal(b);
  if (left?.size !== size || right?.size !== size || op === 'Div') return null;
  if (op === 'Mul') return { kind: 'product', size, parts: [left, right] };
  return {
    kind: 'sum',
    size,
    parts: [left, op === 'Add' ? right : { kind: 'scale', size, from: right, factors: new Float64Array(size).fill(-1) }],
  };
}

export function dense(context: SignalContext, node: NodeProto, size: number): Signal | null {
  const [a, b, c] = node.input as [string, string, string | undefined];
  const weight = context.constants.value(b);
  const from = context.signal(a);
  const rank = context.features.shape(a)?.length ?? 0;
  if (weight?.dims.length !== 2 || !from || context.features.axis(a) !== rank - 1 || intAttribute(node, 'transA')) return null;
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
  const bias = context.constants.value(c);
  const values = bias && context.features.perFeature(bias, node.output[0]!);
  const beta = floatAttribute(node, 'beta') ?? 1;
  return values && { kind: 'sum', size, parts: [linear, { kind: 'constant', size, value: values.map((v) => v * beta) }] };
}

export function layerNormalization(context: SignalContext, node: NodeProto, size: number): Signal | null {
  const input = node.input[0]!;
  const from = context.signal(input);
  const rank = context.features.shape(input)?.length ?? 0;
  const axis = normalAxis(intAttribute(node, 'axis') ?? -1, rank, node);
  if (from?.size !== size || axis !== rank - 1 || context.features.axis(input) !== axis) return null;
  const scale = operand(context, node.input[1] ?? '', node.output[0]!);
  const shift = node.input[2] ? operand(context, node.input[2], node.output[0]!) : new Float64Array(size);
  const epsilon = floatAttribute(node, 'epsilon') ?? 1e-5;
  return scale && shift ? { kind: 'normalised', size, from, scale, shift, epsilon } : null;
}

/** The sum or mean over all features of a position. */
export function reduced(context: SignalContext, node: NodeProto, size: number): Signal | null {
  const input = node.input[0]!;
  const from = context.signal(input);
  const rank = context.features.shape(input)?.length ?? 0;
  const axes = intsAttribute(node, 'axes') ?? context.constants.integers(node.input[1]);
  if (!from || size !== 1 || axes?.length !== 1 || context.features.axis(input) !== normalAxis(axes[0]!, rank, node)) return null;
  const weight = node.opType === 'ReduceMean' ? 1 / from.size : 1;
  return { kind: 'linear', size, from, matrix: matrix(1, from.size, new Float64Array(from.size).fill(weight)) };
}

/** A convolution whose kernel covers one position: a dense layer over the channels. */
export function pointwiseConvolution(context: SignalContext, node: NodeProto, size: number): Signal | null {
  const input = node.input[0]!;
  const from = context.signal(input);
  const kernel = convolutionMatrix(node, context.constants);
  if (
    !from ||
    kernel?.taps !== 1 ||
    context.features.axis(input) !== 1 ||
    kernel.matrix.cols !== from.size ||
    kernel.matrix.rows !== size
  )
    return null;
  if (!context.features.keepsTime(input, node.output[0]!)) return null;
  const linear: Signal = { kind: 'linear', size, from, matrix: kernel.matrix };
  return kernel.bias ? { kind: 'sum', size, parts: [linear, { kind: 'constant', size, value: kernel.bias }] } : linear;
}

/** A convolution along axes that hold features: a sparse matrix over all of them. */
export function convolution(context: SignalContext, node: NodeProto, size: number): Signal | null {
  const input = node.input[0]!;
  const from = context.signal(input);
  const shape = context.features.shape(input);
  const sizes = shape && context.features.sizes(shape);
  if (!from || !sizes || sizes[0] !== 1 || shape.slice(2).some((dim) => context.features.reachesOutside(dim))) return null;
  const spread = spreadConvolution(node, sizes.slice(1), context.constants);
  if (spread?.matrix.rows !== size || spread.matrix.cols !== from.size) return null;
  const linear: Signal = { kind: 'linear', size, from, matrix: spread.matrix };
  return spread.bias ? { kind: 'sum', size, parts: [linear, { kind: 'constant', size, value: spread.bias }] } : linear;
}

export function batchNormalization(context: SignalContext, node: NodeProto, size: number): Signal | null {
  const from = context.signal(node.input[0]!);
  const parameters = [1, 2, 3, 4].map((i) => context.constants.value(node.input[i] ?? ''));
  const [scale, bias, mean, variance] = parameters.map((p) => p?.data);
  if (!from || context.features.axis(node.input[0]!) !== 1 || !scale || !bias || !mean || !variance || scale.length !== size)
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

/** A constant operand of an elementwise operator, one number per feature; null: absent or not constant. */
export function operand(context: SignalContext, name: string, output: string): Float64Array | null {
  const value = name === '' ? null : context.constants.value(name);
  return value && context.features.perFeature(value, output);
}

export function softmax(context: SignalContext, node: NodeProto, size: number): Signal | null {
  const input = node.input[0]!;
  const from = context.signal(input);
  const rank = context.features.shape(input)?.length ?? 0;
  const axis = intAttribute(node, 'axis');
  // Old operator sets have another default and take all axes behind it together, which is the same for the last axis alone.
  const last = axis === undefined ? rank === 2 : normalAxis(axis, rank, node) === rank - 1;
  const fits = from?.size === size && last && context.features.axis(input) === rank - 1;
  return fits ? { kind: 'softmax', size, from, log: node.opType === 'LogSoftmax' } : null;
}
