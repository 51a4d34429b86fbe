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
  sumOf,
  type Box,
} from './interval.js';
import { gamma } from './rounding.js';

/** Pieces that the bounds of all three cells share: invariant boxes, gate ranges, and products with |R| and |W|. */

export const unbounded = (size: number): Box => ({
  lower: new Float64Array(size).fill(-Infinity),
  upper: new Float64Array(size).fill(Infinity),
});

/** Growing and tightening stop when no bound moves by more than this fraction of the box: coarser where an image takes long. */
const settled = (size: number) => (size <= 1024 ? 1e-3 : 5e-3);
const maxSteps = 60;

/**
 * The reachable box. A box that holds the initial states and whose image, rounded outward, stays inside holds every
 * trajectory, by induction. The smallest such box is the limit of images grown from the initial states, so a little more than that
 * is tried, and `candidate` too, which is exact where a state fills it; both hold. Then the box shrinks: a state is either an initial state or the image
 * of a reachable one, so the image of a sound box, joined with the initial box, is sound again.
 * @param candidate an invariant box, possibly infinite in places
 * @param within a set that is known to hold all of them, whose box then only shrinks
 */
export function reachableBox(initial: Box, candidate: () => Box, image: (state: Box) => Box, within: Enclosure | null): Box {
  const invariant = (box: Box) => (contains(box, image(box)) ? box : null);
  const found = within ? [within.state] : [grownBox(initial, image), invariant(hull(candidate(), initial))];
  const sound = found.filter((box) => box !== null);
  if (sound.length === 0) return unbounded(initial.lower.length);
  let state = sound.reduce(intersection);
  for (let i = 0; i < maxSteps; i++) {
    const next = intersection(state, hull(initial, image(state)));
    if (!moved(state, next)) return next;
    state = next;
  }
  return state;
}

/** Images of the initial box until they settle, widened until a box holds its own image; null where that does not happen. */
function grownBox(initial: Box, image: (state: Box) => Box): Box | null {
  let state = initial;
  for (let i = 0; i < maxSteps; i++) {
    const next = hull(state, image(state));
    if (!isFinite(next)) return null;
    const still = !moved(next, state);
    state = next;
    if (!still) continue;
    // Bounds that still creep are a geometric sequence away from their limit; a few per cent of the box cover that.
    for (const fraction of [3e-3, 3e-2]) {
      const guess = widened(state, fraction);
      const inside = image(guess);
      if (contains(guess, inside)) return intersection(guess, hull(initial, inside));
    }
  }
  return null;
}

/** True where `from`, which holds `to`, is larger by more than a small fraction. */
function moved(from: Box, to: Box): boolean {
  const tolerance = settled(from.lower.length);
  return to.lower.some((v, j) => {
    const size = from.upper[j]! - from.lower[j]!;
    return size - (to.upper[j]! - v) > tolerance * size;
  });
}

export function widened(b: Box, fraction: number): Box {
  const margin = (i: number) => fraction * Math.max(Math.abs(b.lower[i]!), Math.abs(b.upper[i]!), 1e-12);
  return { lower: b.lower.map((v, i) => v - margin(i)), upper: b.upper.map((v, i) => v + margin(i)) };
}

/** A convex set that holds all reachable states, known from elsewhere: an ellipsoid says more about R h than any box does. */
export interface Enclosure {
  readonly state: Box;
  /** Range of M (f ∘ h) over the set, f = 1 where no factors are given. */
  share(matrix: Matrix, factors?: Box): Box;
}

/** A gate with the share of its input already summed: pre-activation = inputShare + R h (+ peephole · c). */
export interface BoundedGate {
  readonly gate: Gate;
  readonly inputShare: Box;
  /** Range of R h where the enclosure says it; else it follows from the box of h. */
  readonly recurrentShare: Box | null;
  readonly absRecurrent: Matrix;
  readonly absInput: Matrix;
}

export function boundedGate(gate: Gate, input: Box, within: Enclosure | null): BoundedGate {
  return {
    gate,
    inputShare: imageOf(gate.input, input, pointBox(gate.bias)),
    recurrentShare: within && within.share(gate.recurrent),
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
  const raw = g.recurrentShare ? sumOf(g.inputShare, g.recurrentShare) : imageOf(g.gate.recurrent, hidden, g.inputShare);
  const sum = peephole
    ? { lower: raw.lower.map((v, i) => v + peephole.lower[i]!), upper: raw.upper.map((v, i) => v + peephole.upper[i]!) }
    : raw;
  const pre = clipped(sum, clip);
  return { value: activated(g.gate.activation, pre), slope: slopeBound(g.gate.activation, pre) };
}

/** An upper bound of m · v for a matrix and a vector without negative entries. */
export function upperProduct(m: Matrix, v: Float64Array, into: Float64Array = new Float64Array(m.rows)): Float64Array {
  const factor = 1 + 2 * gamma(m.cols);
  const { cols, data } = m;
  if (!v.every(Number.isFinite)) return upperProductOfInfinite(m, v, into);
  // Four rows at a time: one sum alone would wait for each of its own additions.
  const whole = m.rows - (m.rows % 4);
  for (let r = 0; r < whole; r += 4) {
    const p = r * cols;
    let s0 = 0;
    let s1 = 0;
    let s2 = 0;
    let s3 = 0;
    for (let c = 0; c < cols; c++) {
      const x = v[c]!;
      s0 += data[p + c]! * x;
      s1 += data[p + cols + c]! * x;
      s2 += data[p + 2 * cols + c]! * x;
      s3 += data[p + 3 * cols + c]! * x;
    }
    into[r] = into[r]! + s0 * factor;
    into[r + 1] = into[r + 1]! + s1 * factor;
    into[r + 2] = into[r + 2]! + s2 * factor;
    into[r + 3] = into[r + 3]! + s3 * factor;
  }
  for (let r = whole; r < m.rows; r++) {
    let sum = 0;
    for (let c = 0; c < cols; c++) sum += data[r * cols + c]! * v[c]!;
    into[r] = into[r]! + sum * factor;
  }
  return into;
}

/** An upper bound of m · diag(factors) · right, all without negative entries. */
export function upperMatrixProduct(m: Matrix, factors: Float64Array, right: Matrix): Matrix {
  const out = new Float64Array(m.rows * right.cols);
  for (let c = 0; c < right.cols; c++) {
    const column = factors.map((v, r) => v * right.data[r * right.cols + c]! * (1 + 2 ** -51));
    upperProduct(m, column).forEach((v, r) => (out[r * right.cols + c] = v));
  }
  return { rows: m.rows, cols: right.cols, data: out };
}

function upperProductOfInfinite({ rows, cols, data }: Matrix, v: Float64Array, into: Float64Array): Float64Array {
  const factor = 1 + 2 * gamma(cols);
  for (let r = 0; r < rows; r++) {
    let sum = 0;
    for (let c = 0; c < cols; c++) {
      const w = data[r * cols + c]!;
      // Skipped zeros keep 0 · ∞ out of the sum.
      if (w !== 0) sum += w * v[c]!;
    }
    into[r] = into[r]! + sum * factor;
  }
  return into;
}

/**
 * Bound of the change of a gate's pre-activation: |R| dh + |W| dx.
 * @param limit of |R Δh|, where more is known than dh says
 */
export function preActivationChange(
  g: BoundedGate,
  hidden: Float64Array,
  input: Float64Array | null,
  limit?: Float64Array,
): Float64Array {
  const out = upperProduct(g.absRecurrent, hidden);
  if (limit) for (let j = 0; j < out.length; j++) out[j] = Math.min(out[j]!, limit[j]!);
  return input ? upperProduct(g.absInput, input, out) : out;
}
