import { DataType } from '../onnx/tensor.js';
import type { GraphBuilder } from '../../truncation/graphBuilder.js';
import { intAttribute } from './layer.js';

/**
 * A mask lets a recurrent layer skip steps anywhere in a sequence: its state stays as it is. ONNX's recurrent nodes can only
 * stop early (sequence_lens), so the steps that count are moved to the front, the node runs over those, and its outputs are
 * put back where they belong.
 */
export interface Compaction {
  /** int32 [batch], at least 1, which is what the node takes. */
  readonly lengths: string;
  /** bool [batch, 1]: no step of the sequence counts. */
  readonly empty: string;
  /** int64 [batch, time]: how many steps up to and with this one count. */
  readonly counted: string;
  readonly mask: string;
  /** int64 [batch, time, 1]: the position that each place of the compacted sequence takes its step from. */
  readonly order: string;
}

export function compaction(g: GraphBuilder, mask: string): Compaction {
  const cast = (x: string, to: DataType) => g.node('Cast', [x], [intAttribute('to', to)]);
  const one = g.constant('axis_time', [], [1], DataType.INT64);
  const numbers = cast(mask, DataType.INT64);
  const ones = g.node('Or', [mask, g.node('Not', [mask])]);
  const positions = g.node('CumSum', [cast(ones, DataType.INT64), one]);
  const size = g.node('Shape', [mask], [intAttribute('start', 1), intAttribute('end', 2)]);
  // Steps that count keep their position as the key, the others come behind all of them.
  const key = g.node('Where', [mask, positions, g.binary('Add', positions, size)]);
  const sorted = g.name('sorted');
  const order = g.name('order');
  g.node('TopK', [key, size], [intAttribute('axis', 1), intAttribute('largest', 0), intAttribute('sorted', 1)], [sorted, order]);
  const axes = g.constant('axes_time', [1], [1], DataType.INT64);
  const total = g.node('ReduceSum', [numbers, axes], [intAttribute('keepdims', 0)]);
  const least = g.node('Max', [total, g.constant('least', [1], [1], DataType.INT64)]);
  const whole = g.node('ReduceSum', [numbers, axes], [intAttribute('keepdims', 1)]);
  return {
    lengths: cast(least, DataType.INT32),
    empty: g.node('Equal', [whole, g.constant('none', [1], [0], DataType.INT64)]),
    counted: g.node('CumSum', [numbers, one]),
    mask,
    order: g.unsqueeze(order, 2),
  };
}

/** The steps that count, in their order, in front of the others. */
export function compacted(g: GraphBuilder, x: string, { order }: Compaction): string {
  return g.node('GatherND', [x, order], [intAttribute('batch_dims', 1)]);
}

/**
 * Puts a node's outputs [batch, time, units] back: a step that was skipped repeats the output of the step before it in the
 * layer's direction, or the initial state where there is none.
 */
export function spread(g: GraphBuilder, y: string, plan: Compaction, reverse: boolean, initial: string): string {
  const one = g.constant('one', [1], [1], DataType.INT64);
  const before = g.binary('Sub', plan.counted, one);
  // Backwards, a skipped step follows the next one that counts.
  const index = reverse ? g.node('Where', [plan.mask, before, plan.counted]) : before;
  const length = g.unsqueeze(g.node('Cast', [plan.lengths], [intAttribute('to', DataType.INT64)]), 1);
  const zero = g.constant('first', [1], [0], DataType.INT64);
  const outside = g.node('Or', [g.node('Less', [index, zero]), g.node('Not', [g.node('Less', [index, length])])]);
  const nowhere = g.node('Or', [outside, plan.empty]);
  const limited = g.node('Min', [g.node('Max', [index, zero]), g.binary('Sub', length, one)]);
  const gathered = g.node('GatherND', [y, g.unsqueeze(limited, 2)], [intAttribute('batch_dims', 1)]);
  return g.node('Where', [g.unsqueeze(nowhere, 2), g.unsqueeze(initial, 1), gathered]);
}

/** Last states [batch, units]; those of a sequence without any step that counts are the initial ones. */
export function finalState(g: GraphBuilder, state: string, plan: Compaction, initial: string): string {
  return g.node('Where', [plan.empty, initial, state]);
}

/** Zeros [1, units] that stand for the initial state of every sequence. */
export function zeroState(g: GraphBuilder, units: number): string {
  return g.constant(`zeros_${units}`, [1, units], new Float64Array(units));
}

