import { intAttribute, intsAttribute } from '../checkpoint/onnx/attributes.js';
import { normalAxis, type Constants } from '../checkpoint/onnx/constants.js';
import { isStandard } from '../checkpoint/onnx/model.js';
import { words } from '../checkpoint/onnx/operators.js';
import type { NodeProto } from '../checkpoint/onnx/onnx_pb.js';

/**
 * Whether a node can compute all frames at once: its inputs hold the frames behind each other along one axis each, and no
 * frame may see another. What is not known to be so is left to one node for every frame.
 */
export interface FrameAxes {
  /** Axis of each output that holds the frames. */
  readonly axis: number;
  /** A new shape for Reshape and Flatten, whose own holds one frame. */
  readonly shape?: readonly number[];
}

/** What is known about a tensor of one frame. */
export interface FrameTensor {
  readonly dims: readonly number[];
  /** Axis along which the frames lie in the tensor of all frames; null for a constant, which is the same for all. */
  readonly axis: number | null;
}

const unary = words(
  'Abs Acos Acosh Asin Asinh Atan Atanh Cast Ceil Clip Cos Cosh Dropout Elu Erf Exp Floor Gelu HardSigmoid HardSwish',
  'Identity IsInf IsNaN LeakyRelu Log Mish Neg Not Reciprocal Relu Round Selu Sigmoid Sign Sin Sinh Softplus Softsign',
  'Sqrt Tan Tanh ThresholdedRelu',
);
const broadcasting = words(
  'Add And Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mod Mul Or PRelu Pow Sub Sum Where Xor',
);

const size = (dims: readonly number[]) => dims.reduce((a, b) => a * b, 1);

/**
 * @param tensor of an input of the node
 * @param frames how many
 * @returns null where frames would meet or nothing is known
 */
export function frameAxes(
  node: NodeProto,
  tensor: (name: string) => FrameTensor | null,
  outputDims: readonly number[] | null,
  constants: Constants,
  frames: number,
  opset: number,
): FrameAxes | null {
  if (!isStandard(node)) return null;
  const inputs = node.input.map((name) => (name === '' ? null : tensor(name)));
  if (node.input.some((name, i) => name !== '' && !inputs[i])) return null;
  const [first] = inputs;
  const carriers = inputs.flatMap((input, i) => (input && input.axis !== null ? [i] : []));
  // Apart from the elementwise and joining operators only the data may differ from frame to frame.
  const onlyFirst = carriers.length === 1 && carriers[0] === 0;
  const at = first?.axis ?? 0;
  const rank = first?.dims.length ?? 0;
  const list = (name: string, input: number) => intsAttribute(node, name) ?? constants.integers(node.input[input]) ?? undefined;
  const keep: FrameAxes = { axis: at };

  if (unary.has(node.opType)) return onlyFirst ? keep : null;
  if (broadcasting.has(node.opType)) return broadcast(inputs);
  if (node.opType === 'Concat') {
    const axis = normalAxis(intAttribute(node, 'axis') ?? 1, rank, node);
    return inputs.every((input) => input && input.axis === first!.axis && input.axis !== null) && axis !== at ? keep : null;
  }
  if (node.opType === 'MatMul') return product(inputs[0]!, inputs[1]!);
  if (!onlyFirst) return null;
  switch (node.opType) {
    case 'Transpose': {
      const perm = intsAttribute(node, 'perm') ?? first!.dims.map((_, i) => rank - 1 - i);
      return { axis: perm.indexOf(at) };
    }
    case 'Unsqueeze': {
      const added = list('axes', 1);
      if (!added) return null;
      const positions = new Set(added.map((a) => normalAxis(a, rank + added.length, node)));
      const rest = Array.from({ length: rank + added.length }, (_, i) => i).filter((i) => !positions.has(i));
      return { axis: rest[at]! };
    }
    case 'Squeeze': {
      const axes = list('axes', 1)?.map((a) => normalAxis(a, rank, node));
      return axes && !axes.includes(at) ? { axis: at - axes.filter((a) => a < at).length } : null;
    }
    case 'Reshape':
    case 'Flatten':
      return reshaped(first!, outputDims, frames);
    case 'Split':
      return normalAxis(intAttribute(node, 'axis') ?? 0, rank, node) !== at ? keep : null;
    case 'Slice': {
      const starts = list('starts', 1);
      const [ends, steps] = [list('ends', 2), list('steps', 4)];
      const axes = list('axes', 3) ?? starts?.map((_, i) => i);
      // All of the frames' own axis, whatever its length, is no cut.
      const isWhole = (i: number) => starts?.[i] === 0 && ends![i]! >= 2 ** 31 - 1 && (steps?.[i] ?? 1) === 1;
      return axes && ends && axes.every((a, i) => normalAxis(a, rank, node) !== at || isWhole(i)) ? keep : null;
    }
    case 'Gather': {
      const axis = normalAxis(intAttribute(node, 'axis') ?? 0, rank, node);
      const indexRank = inputs[1]!.dims.length;
      return axis === at ? null : { axis: at < axis ? at : at + indexRank - 1 };
    }
    case 'Gemm':
      return at === 0 && !intAttribute(node, 'transA') && sameRow(inputs[2]) ? keep : null;
    case 'Conv':
    case 'ConvTranspose':
    case 'MaxPool':
    case 'AveragePool':
    case 'GlobalAveragePool':
    case 'GlobalMaxPool':
    case 'InstanceNormalization':
    case 'BatchNormalization':
      return at === 0 && node.output.filter((o) => o !== '').length === 1 ? keep : null;
    case 'Pad': {
      const pads = list('pads', 1);
      const whole = pads?.length === 2 * rank && (node.input[3] ?? '') === '';
      return whole && pads[at] === 0 && pads[at + rank] === 0 ? keep : null;
    }
    case 'Softmax':
    case 'LogSoftmax': {
      // Before operator set 13 everything from the axis on is one.
      const axis = normalAxis(intAttribute(node, 'axis') ?? (opset < 13 ? 1 : -1), rank, node);
      return (opset < 13 ? at < axis : at !== axis) ? keep : null;
    }
    case 'LayerNormalization':
      return at < normalAxis(intAttribute(node, 'axis') ?? -1, rank, node) ? keep : null;
    case 'CumSum': {
      const axis = constants.integers(node.input[1])?.[0];
      return axis !== undefined && normalAxis(axis, rank, node) !== at ? keep : null;
    }
    default:
      return node.opType.startsWith('Reduce') ? reduced(node, at, rank, list('axes', 1)) : null;
  }
}

function broadcast(inputs: readonly (FrameTensor | null)[]): FrameAxes | null {
  const present = inputs.filter((i) => i !== null);
  const rank = Math.max(...present.map((i) => i.dims.length));
  const fromRight = new Set(present.filter((i) => i.axis !== null).map((i) => i.dims.length - i.axis!));
  const [place] = fromRight;
  if (fromRight.size !== 1 || place === undefined) return null;
  const sizes = new Set<number>();
  for (const { dims, axis } of present) {
    const here = dims[dims.length - place];
    if (axis !== null) sizes.add(here!);
    else if (here !== undefined && here !== 1) return null;
  }
  return sizes.size === 1 ? { axis: rank - place } : null;
}

function product(a: FrameTensor, b: FrameTensor): FrameAxes | null {
  const rank = Math.max(a.dims.length, b.dims.length);
  if (a.dims.length < 2 || b.dims.length < 2) return null;
  if (a.axis !== null && b.axis === null) {
    if (a.axis === a.dims.length - 1) return null;
    if (b.dims.length > 2 && (a.axis === a.dims.length - 2 || b.dims[b.dims.length - (a.dims.length - a.axis)] !== 1))
      return null;
    return { axis: rank - (a.dims.length - a.axis) };
  }
  const outer = (t: FrameTensor) => t.axis !== null && t.axis < t.dims.length - 2;
  if (a.axis === null) return outer(b) && a.dims.length === 2 ? { axis: b.axis! } : null;
  const aligned = outer(a) && outer(b) && a.dims.length - a.axis === b.dims.length - b.axis!;
  return aligned && a.dims[a.axis] === b.dims[b.axis!] ? { axis: rank - (a.dims.length - a.axis) } : null;
}

/** A bias that is the same for every row, and so for every frame. */
function sameRow(bias: FrameTensor | null | undefined): boolean {
  return !bias || bias.dims.length < 2 || bias.dims[0] === 1;
}

/** In row-major order the frames stay together where as many elements stand before them as did. */
function reshaped(input: FrameTensor, output: readonly number[] | null, frames: number): FrameAxes | null {
  if (!output || size(output) !== size(input.dims)) return null;
  const before = size(input.dims.slice(0, input.axis!));
  const places = output.flatMap((_, p) => (size(output.slice(0, p)) === before ? [p] : []));
  const axis = places.find((p) => output[p] === 1) ?? places[0];
  return axis === undefined ? null : { axis, shape: output.map((d, i) => (i === axis ? d * frames : d)) };
}

function reduced(node: NodeProto, at: number, rank: number, axes: readonly number[] | undefined): FrameAxes | null {
  const over = axes?.map((a) => normalAxis(a, rank, node));
  if (!over || over.length === 0 || over.includes(at)) return null;
  return { axis: (intAttribute(node, 'keepdims') ?? 1) === 1 ? at : at - over.filter((a) => a < at).length };
}
