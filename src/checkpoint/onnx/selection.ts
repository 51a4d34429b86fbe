import { matrix } from '../../network/matrix.js';
import type { Signal } from '../../network/signal.js';
import { intAttribute, intsAttribute } from './attributes.js';
import { normalAxis, sliceRanges } from './constants.js';
import { dimSize } from './dims.js';
import type { NodeProto } from './onnx_pb.js';
import type { SignalContext } from './signals.js';
import { tokenInput } from './tokens.js';

/** Operators that put features into another order, keep some of them, or look them up in a table. */

export function transpose(context: SignalContext, node: NodeProto, size: number): Signal | null {
  const input = node.input[0]!;
  const from = context.signal(input);
  const shape = context.features.shape(input);
  const sizes = shape && context.features.sizes(shape);
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

export function concat(context: SignalContext, node: NodeProto, name: string, size: number): Signal | null {
  const shape = context.features.shape(name);
  const sizes = shape && context.features.sizes(shape);
  const parts = node.input.map((part) => context.signal(part));
  if (!sizes || !parts.every((p) => p !== null)) return null;
  const axis = normalAxis(intAttribute(node, 'axis') ?? 1, sizes.length, node);
  if (context.features.reachesOutside(shape[axis]!) || parts.reduce((sum, p) => sum + p.size, 0) !== size) return null;
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

/** Features `start`, `start + step`, … of one axis. */
function select(context: SignalContext, input: string, axis: number, indices: readonly number[]): Signal | null {
  const from = context.signal(input);
  const shape = context.features.shape(input);
  const sizes = shape && context.features.sizes(shape);
  // Only a selection among features is one; a selection in time changes which step is read.
  if (!from || !sizes || context.features.reachesOutside(shape[axis]!)) return null;
  if (indices.some((i) => !(i >= 0 && i < sizes[axis]!))) return null;
  const inner = sizes.slice(axis + 1).reduce((a, b) => a * b, 1);
  const outer = sizes.slice(0, axis).reduce((a, b) => a * b, 1);
  const index: number[] = [];
  for (let o = 0; o < outer; o++)
    for (const i of indices) for (let k = 0; k < inner; k++) index.push((o * sizes[axis]! + i) * inner + k);
  return { kind: 'select', size: index.length, from, index: Int32Array.from(index) };
}

export function part(context: SignalContext, node: NodeProto, name: string, size: number): Signal | null {
  const input = node.input[0]!;
  const before = context.features.shape(input);
  const after = context.features.shape(name);
  if (!before || !after) return null;
  const changed = before.flatMap((dim, i) => (dimSize(dim) !== dimSize(after[i]!) ? [i] : []));
  // The same size can still be the reverse order.
  if (changed.length === 0) return context.constants.integers(node.input[4])?.some((s) => s < 0) ? null : context.signal(input);
  const axis = changed[0]!;
  const full = dimSize(before[axis]!);
  if (changed.length !== 1 || full === null) return null;
  let start = 0;
  let step = 1;
  const count = dimSize(after[axis]!)!;
  if (node.opType === 'Slice') {
    const list = (key: string, i: number) => intsAttribute(node, key) ?? context.constants.integers(node.input[i]) ?? undefined;
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
      start += dimSize(context.features.shape(output)![axis]!)!;
    }
  }
  const selected = select(
    context,
    input,
    axis,
    Array.from({ length: count }, (_, i) => start + i * step),
  );
  return selected?.size === size ? selected : null;
}

export function gather(context: SignalContext, node: NodeProto, size: number): Signal | null {
  const [data, index] = node.input as [string, string];
  const table = context.constants.value(data);
  const axis = intAttribute(node, 'axis') ?? 0;
  if (table) {
    // An embedding: the token is a graph input, the row is the features.
    if (axis !== 0 || table.dims.length !== 2 || context.features.count(index) !== 1) return null;
    const below = tokenInput(index, table.dims[0]!, context.constants, (name) => {
      const signal = context.features.count(name) === 1 ? context.signal(name) : null;
      return signal?.kind === 'source' && signal.operator === null ? signal.name : null;
    });
    if (below === null) return null;
    return { kind: 'table', size, source: below, rows: matrix(table.dims[0]!, table.dims[1]!, table.data) };
  }
  const indices = context.constants.integers(index);
  const shape = context.features.shape(data);
  if (!indices || !shape) return null;
  const normal = normalAxis(axis, shape.length, node);
  const full = dimSize(shape[normal]!);
  if (full === null) return null;
  return select(
    context,
    data,
    normal,
    indices.map((i) => (i < 0 ? i + full : i)),
  );
}
