import { matrix, type Matrix } from '../../network/matrix.js';
import { intAttribute } from './attributes.js';
import type { Constants } from './constants.js';
import type { NodeProto } from './onnx_pb.js';

/** A kernel as a dense matrix [out channels, taps · in channels], tap by tap. */
export interface ConvolutionMatrix {
  readonly matrix: Matrix;
  readonly taps: number;
  readonly bias: Float64Array | null;
}

/** Kernels with more entries than this are not written out. */
const largestMatrix = 2 ** 22;

/** null where the weights of a Conv are not constant, or too many. */
export function convolutionMatrix(node: NodeProto, constants: Constants): ConvolutionMatrix | null {
  const weight = constants.value(node.input[1] ?? '');
  if (!weight || weight.dims.length < 3) return null;
  const [outputs, perGroup, ...kernel] = weight.dims as [number, number, ...number[]];
  const groups = intAttribute(node, 'group') ?? 1;
  const inputs = perGroup * groups;
  const taps = kernel.reduce((a, b) => a * b, 1);
  const bias = node.input[2] ? constants.value(node.input[2]) : null;
  if (outputs * inputs * taps > largestMatrix || (node.input[2] && bias?.data.length !== outputs)) return null;
  const data = new Float64Array(outputs * inputs * taps);
  for (let o = 0; o < outputs; o++) {
    const first = Math.floor(o / (outputs / groups)) * perGroup;
    for (let i = 0; i < perGroup; i++) {
      for (let t = 0; t < taps; t++) {
        data[o * inputs * taps + t * inputs + first + i] = weight.data[(o * perGroup + i) * taps + t]!;
      }
    }
  }
  return { matrix: matrix(outputs, inputs * taps, data), taps, bias: bias?.data ?? null };
}
