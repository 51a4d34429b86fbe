import { matrix, type Matrix } from '../../network/matrix.js';
import { intAttribute, intsAttribute, stringAttribute } from './attributes.js';
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

/**
 * A Conv over an input [channels, …] of fixed sizes as one matrix from all of its elements to all of the output's, both in
 * row-major order. null where the weights are not constant or the matrix would be too large.
 */
export function spreadConvolution(
  node: NodeProto,
  [channels, ...sizes]: readonly number[],
  constants: Constants,
): { readonly matrix: Matrix; readonly bias: Float64Array | null } | null {
  const weight = constants.value(node.input[1] ?? '');
  const auto = stringAttribute(node, 'auto_pad') ?? 'NOTSET';
  if (!weight || channels === undefined || weight.dims.length !== sizes.length + 2 || auto.startsWith('SAME')) return null;
  const [outputs, perGroup, ...kernel] = weight.dims as [number, number, ...number[]];
  const rank = sizes.length;
  const list = (name: string, otherwise: number, length = rank) =>
    intsAttribute(node, name) ?? new Array<number>(length).fill(otherwise);
  const [strides, dilations, pads] = [list('strides', 1), list('dilations', 1), list('pads', 0, 2 * rank)];
  const reach = kernel.map((k, i) => dilations[i]! * (k - 1) + 1);
  const results = sizes.map((size, i) => Math.floor((size + pads[i]! + pads[rank + i]! - reach[i]!) / strides[i]!) + 1);
  if (results.some((n) => n < 1)) return null;
  const count = (dims: readonly number[]) => dims.reduce((a, b) => a * b, 1);
  const [rows, cols] = [outputs * count(results), channels * count(sizes)];
  const bias = node.input[2] ? constants.value(node.input[2]) : null;
  if (rows * cols > largestMatrix || (node.input[2] && bias?.data.length !== outputs)) return null;
  const groups = intAttribute(node, 'group') ?? 1;
  const data = new Float64Array(rows * cols);
  for (const [at, position] of positions(results).entries()) {
    for (const [tap, offset] of positions(kernel).entries()) {
      const read = position.map((p, i) => p * strides[i]! - pads[i]! + offset[i]! * dilations[i]!);
      if (read.some((r, i) => r < 0 || r >= sizes[i]!)) continue;
      const place = read.reduce((sum, r, i) => sum * sizes[i]! + r, 0);
      for (let o = 0; o < outputs; o++) {
        const first = Math.floor(o / (outputs / groups)) * perGroup;
        for (let c = 0; c < perGroup; c++) {
          data[(o * count(results) + at) * cols + (first + c) * count(sizes) + place] =
            weight.data[(o * perGroup + c) * count(kernel) + tap]!;
        }
      }
    }
  }
  const spreadBias = bias && Float64Array.from({ length: rows }, (_, r) => bias.data[Math.floor(r / count(results))]!);
  return { matrix: matrix(rows, cols, data), bias: spreadBias };
}

/** All coordinates of a box, in row-major order. */
function positions(sizes: readonly number[]): number[][] {
  return sizes.reduce<number[][]>(
    (all, size) => all.flatMap((start) => Array.from({ length: size }, (_, i) => [...start, i])),
    [[]],
  );
}
