import type { Gate } from '../network/cell.js';
import type { Matrix } from '../network/matrix.js';
import { absolute } from '../network/matrix.js';
import {
  activated,
  clipped,
  contains,
  hull,
  imageOf,
  intersection,
  isFinite,
  pointBox,
  slopeBound,
  type Box,
} from './interval.js';
import { gamma } from './rounding.js';

/** Pieces that the bounds of all three cells share: invariant boxes, gate ranges, and products with |R| and |W|. */

export const unbounded = (size: number): Box => ({
  lower: new Float64Array(size).fill(-Infinity),
  upper: new Float64Array(size).fill(Infinity),
});

/** Tightening stops when no bound moves by more than this fraction of the box. */
const settled = 1e-4;
const maxTightenings = 60;

/**
 * The reachable box: `candidate` must contain the initial states, and is accepted only when its image, rounded outward,
 * stays inside, which proves by induction that no trajectory leaves it. Then it shrinks: a state is either an initial
 * state or the image of a reachable one, so the image of a sound box, joined with the initial box, is sound again.
 */
export function reachableBox(initial: Box, candidate: Box, image: (state: Box) => Box): Box {
  let state = hull(candidate, initial);
  if (!isFinite(state) || !contains(state, image(state))) return unbounded(state.lower.length);
  for (let i = 0; i < maxTightenings; i++) {
    const next = intersection(state, hull(initial, image(state)));
    const moved = next.lower.some((v, j) => {
      const size = state.upper[j]! - state.lower[j]!;
      return size - (next.upper[j]! - v) > settled * size;
    });
    state = next;
    if (!moved) break;
  }
  return state;
}

/** Grows the initial box until it no longer does, then widens it a little so that the invariance check can succeed. */
export function grownBox(initial: Box, image: (state: Box) => Box, steps = 400): Box {
  let state = initial;
  for (let i = 0; i < steps; i++) {
    const next = hull(state, image(state));
    if (!isFinite(next)) return next;
    const grew = next.upper.some((v, j) => v - next.lower[j]! > (state.upper[j]! - state.lower[j]!) * (1 + 1e-9));
    state = next;
    if (!grew) break;
  }
  return widened(state, 1e-6);
}

export function widened(b: Box, fraction: number): Box {
  const margin = (i: number) => fraction * Math.max(Math.abs(b.lower[i]!), Math.abs(b.upper[i]!), 1e-12);
  return { lower: b.lower.map((v, i) => v - margin(i)), upper: b.upper.map((v, i) => v + margin(i)) };
}

/** A gate with the share of its input already summed: pre-activation = inputShare + R h (+ peephole · c). */
export interface BoundedGate {
  readonly gate: Gate;
  readonly inputShare: Box;
  readonly absRecurrent: Matrix;
  readonly absInput: Matrix;
}

export function boundedGate(gate: Gate, input: Box): BoundedGate {
  return {
    gate,
    inputShare: imageOf(gate.input, input, pointBox(gate.bias)),
    absRecurrent: absolute(gate.recurrent),
    absInput: absolute(gate.input),
  };
}

export interface GateRange {
  /** Range of the gate's value. */
  readonly value: Box;
  /** sup |slope| of its activation. */
  readonly slope: Float64Array;
}

/** @param peephole added to the pre-activation */
export function gateRange(g: BoundedGate, hidden: Box, clip: number, peephole?: Box): GateRange {
  const raw = imageOf(g.gate.recurrent, hidden, g.inputShare);
  const sum = peephole
    ? { lower: raw.lower.map((v, i) => v + peephole.lower[i]!), upper: raw.upper.map((v, i) => v + peephole.upper[i]!) }
    : raw;
  const pre = clipped(sum, clip);
  return { value: activated(g.gate.activation, pre), slope: slopeBound(g.gate.activation, pre) };
}

/** An upper bound of m · v for a matrix and a vector without negative entries. */
export function upperProduct(m: Matrix, v: Float64Array, into: Float64Array = new Float64Array(m.rows)): Float64Array {
  const factor = 1 + 2 * gamma(m.cols);
  for (let r = 0, p = 0; r < m.rows; r++) {
    let sum = 0;
    for (let c = 0; c < m.cols; c++, p++) {
      const w = m.data[p]!;
      // Skipped zeros keep 0 · ∞ out of the sum.
      if (w !== 0) sum += w * v[c]!;
    }
    into[r] = into[r]! + sum * factor;
  }
  return into;
}

/** Bound of the change of a gate's pre-activation: |R| dh + |W| dx. */
export function preActivationChange(g: BoundedGate, hidden: Float64Array, input: Float64Array | null): Float64Array {
  const out = upperProduct(g.absRecurrent, hidden);
  return input ? upperProduct(g.absInput, input, out) : out;
}
