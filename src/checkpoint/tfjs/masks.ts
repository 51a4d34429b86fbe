import { DataType } from '../onnx/tensor.js';
import type { GraphBuilder } from '../onnx/graphBuilder.js';
import { intAttribute, type Bounds } from './layer.js';

/**
 * A mask lets a recurrent layer skip steps anywhere in a sequence: its state stays as it is. ONNX's recurrent nodes can only
 * stop early (sequence_lens), so the steps that count are moved to the front, the node runs over those, and its outputs are
 * put back where they belong. Both moves are products with a matrix of zeros and ones, which are exact.
 */
export interface Compaction {
  /** bool [batch, time] */
  readonly mask: string;
  /** int64 [batch, 1]: how many steps count. */
  readonly total: string;
  /** int32 [batch], at least 1, which is what the node takes. */
  readonly lengths: string;
  /** int64 [batch, time]: how many steps before this one count, and one less where it does not itself. */
  readonly place: string;
  /** int64 [batch, time]: 0, 1, 2, … */
  readonly positions: string;
}

const cast = (g: GraphBuilder, x: string, to: DataType) => g.node('Cast', [x], [intAttribute('to', to)]);
const one = (g: GraphBuilder) => g.constant('one', [1], [1], DataType.INT64);

export function compaction(g: GraphBuilder, mask: string): Compaction {
  const counts = cast(g, mask, DataType.INT64);
  const all = cast(g, g.node('Or', [mask, g.node('Not', [mask])]), DataType.INT64);
  const running = (x: string) => g.node('CumSum', [x, g.constant('axis', [], [1], DataType.INT64)]);
  const total = g.node('ReduceSum', [counts, one(g)], [intAttribute('keepdims', 1)]);
  return {
    mask,
    total,
    lengths: cast(g, g.squeeze(g.node('Max', [total, one(g)]), 1), DataType.INT32),
    place: g.binary('Sub', running(counts), one(g)),
    positions: g.binary('Sub', running(all), one(g)),
  };
}

/**
 * The steps that count, in their order, in front of zeros.
 * @param bounds of the values: an operator that keeps to them changes nothing and lets them be known
 */
export function compacted(g: GraphBuilder, x: string, { mask, place, positions }: Compaction, bounds: Bounds | null): string {
  const matches = g.node('Equal', [g.unsqueeze(place, 1), g.unsqueeze(positions, 2)]);
  const moves = g.node('And', [matches, g.unsqueeze(mask, 1)]);
  const moved = g.matMul(cast(g, moves, DataType.FLOAT), x);
  if (!bounds) return moved;
  const limit = (key: string, value: number) => g.constant(key, [], [value]);
  return g.node('Clip', [moved, limit('lowest', Math.min(0, bounds.lower)), limit('highest', Math.max(0, bounds.upper))]);
}

/**
 * Puts a node's outputs [batch, time, units] back: a step that was skipped repeats the output of the step before it in the
 * layer's direction, or the initial state where there is none.
 */
export function spread(g: GraphBuilder, y: string, plan: Compaction, reverse: boolean, initial: string): string {
  // Backwards, a skipped step follows the next one that counts.
  const from = reverse ? g.node('Where', [plan.mask, plan.place, g.binary('Add', plan.place, one(g))]) : plan.place;
  const moves = g.node('Equal', [g.unsqueeze(from, 2), g.unsqueeze(plan.positions, 1)]);
  const moved = g.matMul(cast(g, moves, DataType.FLOAT), y);
  const before = g.node('Less', [from, g.constant('zero', [1], [0], DataType.INT64)]);
  const nowhere = g.node('Or', [before, g.node('Not', [g.node('Less', [from, plan.total])])]);
  return g.node('Where', [g.unsqueeze(nowhere, 2), g.unsqueeze(initial, 1), moved]);
}

/** Last states [batch, units]; those of a sequence without any step that counts are the initial ones. */
export function finalState(g: GraphBuilder, state: string, { total }: Compaction, initial: string): string {
  return g.node('Where', [g.node('Less', [total, one(g)]), initial, state]);
}

/** Zeros [1, units] that stand for the initial state of every sequence. */
export function zeroState(g: GraphBuilder, units: number): string {
  return g.constant(`zeros_${units}`, [1, units], new Float64Array(units));
}
