import type { Cell } from '../network/cell.js';
import { boundGru, type GruRanges } from './gru.js';
import type { Box } from './interval.js';
import { boundLstm, type LstmRanges } from './lstm.js';
import type { Metric } from './certificates/certificate.js';
import type { InputPath } from './inputEffect.js';
import type { Ellipsoid } from './certificates/ellipsoid.js';
import type { Enclosure } from './reachable.js';
import { boundRnn, type RnnRanges } from './rnn.js';

export type CellRanges = RnnRanges | LstmRanges | GruRanges;

/** What is proven about one direction of a layer for all inputs of a box. */
export interface CellBounds {
  /** Every reachable state lies in it; entries are infinite where no bound was found. Size [H], or [2H] (h, c) for an LSTM. */
  readonly state: Box;
  /** An ellipsoid that holds every reachable state too: what is claimed about states need hold only where both meet. */
  readonly within?: Ellipsoid;
  /**
   * The comparison operator T: for any two reachable states and inputs, |s₁′ − s₂′| ≤ T(|s₁ − s₂|, |x₁ − x₂|) elementwise.
   * Monotone and positively homogeneous.
   * @param input differences of the input [I]; null for equal inputs
   * @param limits of what the state's difference adds to each pre-activation, in the order of `recurrentNorms`
   */
  compare(state: Float64Array, input: Float64Array | null, limits?: readonly Float64Array[]): Float64Array;
  /**
   * For each gate, how much a difference of the state of norm one changes its pre-activations at most, elementwise. For dense
   * weights that is about √H times less than its elementwise bound tells.
   */
  recurrentNorms(metric: Metric): Float64Array[];
  /**
   * Where one step takes the states of a box, outward rounded.
   * @param input box of the inputs; absent: all of them
   */
  image(state: Box, input?: Box): Box;
  /** Box of the inputs [I]. */
  readonly input: Box;
  /** The ways by which a change of the input reaches the next state. */
  readonly inputPaths: readonly InputPath[];
  /** Suprema of the gates, their slopes and the states, from which the quadratic certificates are made. */
  readonly ranges: CellRanges;
  /** Range of each gate's value, by name, for the report. */
  readonly gates: ReadonlyMap<string, Box>;
}

/**
 * @param input box of the inputs [I]
 * @param initial box of the states before the first step
 * @param within a set that is known to hold all reachable states
 */
export function boundCell(cell: Cell, input: Box, initial: Box, within: Enclosure | null = null): CellBounds {
  switch (cell.kind) {
    case 'rnn':
      return boundRnn(cell, input, initial, within);
    case 'lstm':
      return boundLstm(cell, input, initial, within);
    case 'gru':
      return boundGru(cell, input, initial, within);
  }
}
