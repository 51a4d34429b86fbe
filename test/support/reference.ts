import type { RecurrentNode } from '../../src/checkpoint/onnx/recurrent.js';
import type { Tensor } from '../../src/checkpoint/onnx/tensor.js';
import { runCell } from '../../src/network/forward.js';

/** Outputs of a recurrent node in the node's own layout. */
export interface NodeOutputs {
  readonly y: Float64Array;
  readonly yH: Float64Array;
  readonly yC: Float64Array | null;
}

/**
 * A recurrent node by the cell equations alone: directions, initial states, sequence_lens and layout as ONNX's text defines
 * them, around runCell.
 * @param tensor value of an input of the node by name
 */
export function runNode(node: RecurrentNode, tensor: (name: string) => Tensor): NodeOutputs {
  const x = tensor(node.x);
  const h = node.hiddenSize;
  const directions = node.directions.length;
  const [steps, batch] = node.layout === 0 ? [x.dims[0]!, x.dims[1]!] : [x.dims[1]!, x.dims[0]!];
  const lengths = node.sequenceLens === '' ? null : tensor(node.sequenceLens).data;
  const stateIndex = (d: number, n: number) => (node.layout === 0 ? d * batch + n : n * directions + d) * h;
  const outputIndex = (t: number, d: number, n: number) =>
    (node.layout === 0 ? (t * directions + d) * batch + n : (n * steps + t) * directions + d) * h;
  const inputIndex = (t: number, n: number) => (node.layout === 0 ? t * batch + n : n * steps + t) * node.inputSize;
  const part = (name: string, d: number, n: number) =>
    name === '' ? new Float64Array(h) : tensor(name).data.subarray(stateIndex(d, n), stateIndex(d, n) + h);

  const y = new Float64Array(steps * directions * batch * h);
  const yH = new Float64Array(directions * batch * h);
  const yC = node.kind === 'lstm' ? new Float64Array(directions * batch * h) : null;
  node.directions.forEach(({ cell, reverse }, d) => {
    for (let n = 0; n < batch; n++) {
      const length = lengths ? lengths[n]! : steps;
      const order = Array.from({ length }, (_, i) => (reverse ? length - 1 - i : i));
      const inputs = order.map((t) => x.data.subarray(inputIndex(t, n), inputIndex(t, n) + node.inputSize));
      const initial = Float64Array.of(...part(node.initialH, d, n), ...(yC ? part(node.initialC, d, n) : []));
      const states = runCell(cell, inputs, initial);
      states.forEach((s, i) => y.set(s.subarray(0, h), outputIndex(order[i]!, d, n)));
      const last = states[states.length - 1] ?? initial;
      yH.set(last.subarray(0, h), stateIndex(d, n));
      yC?.set(last.subarray(h), stateIndex(d, n));
    }
  });
  return { y, yH, yC };
}

/** Largest |a − b| / max(1, |b|); infinite for different lengths and for values that are no numbers on one side only. */
export function largestError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Infinity;
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    if (Object.is(a[i], b[i])) continue;
    const error = Math.abs(a[i]! - b[i]!) / Math.max(1, Math.abs(b[i]!));
    largest = Math.max(largest, Number.isNaN(error) ? Infinity : error);
  }
  return largest;
}
