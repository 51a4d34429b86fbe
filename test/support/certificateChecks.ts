import type { Cell } from '../../src/network/cell.js';
import { step } from '../../src/network/forward.js';
import type { CellBounds } from '../../src/stability/cellBounds.js';
import type { Contraction } from '../../src/stability/certificates/certificate.js';
import type { Box } from '../../src/stability/interval.js';
import { largestSum } from './cells.js';
import type { Random } from './random.js';

/**
 * Attacks on what is claimed about a cell. Each returns how close the attack came: above 1 the claim is false. The attacks
 * know nothing of how the claim was made, so the same ones judge honest and deliberately broken certificates.
 */
export interface Claim {
  readonly cell: Cell;
  readonly input: Box;
  readonly initial: Float64Array;
  readonly bounds: Pick<CellBounds, 'state' | 'compare' | 'within'>;
}

/** What the attack's own rounding may make of one step. */
export function rounding({ cell, input, bounds }: Claim): number {
  return 2 ** -53 * (64 + cell.hiddenSize + cell.inputSize) * largestSum(cell, input, bounds.state);
}

export function pointIn(b: Box, random: Random): Float64Array {
  const corner = random.chance(0.3);
  return b.lower.map((low, i) => {
    // Where no bound was found, any state will do.
    const [from, to] = [Math.max(low, -4), Math.min(b.upper[i]!, 4)];
    if (!(from <= to)) return low === -Infinity ? b.upper[i]! : low;
    return corner ? random.pick([from, to]) : random.uniform(from, to);
  });
}

/** A point of the box, drawn towards the centre of the ellipsoid until it lies in it. */
export function drawnInside({ within }: Claim['bounds'], point: Float64Array): Float64Array {
  if (!within) return point;
  const { centre, radius } = within;
  const share = radius / distanceFromCentre(within, point);
  return share < 1 ? point.map((v, j) => centre[j]! + share * (1 - 2 ** -40) * (v - centre[j]!)) : point;
}

function distanceFromCentre({ centre, scale }: NonNullable<CellBounds['within']>, point: Float64Array): number {
  return Math.sqrt(point.reduce((sum, v, j) => sum + ((v - centre[j]!) / scale[j]!) ** 2, 0));
}

/** Inputs at corners of the box, chosen greedily so that `goal` of the next state is largest. */
function worstInput(
  { cell, input }: Claim,
  state: Float64Array,
  goal: (next: Float64Array) => number,
  random: Random,
): Float64Array {
  const x = input.lower.map((low, i) => random.pick([low, input.upper[i]!]));
  let best = goal(step(cell, x, state));
  for (let i = 0; i < x.length; i++) {
    const before = x[i]!;
    x[i] = before === input.lower[i] ? input.upper[i]! : input.lower[i]!;
    const value = goal(step(cell, x, state));
    if (value > best) best = value;
    else x[i] = before;
  }
  return x;
}

/**
 * Furthest point of trajectories, as a multiple of the claimed radius of the reachable box, or of the ellipsoid: random inputs, and
 * inputs that push one unit, or the whole state, out of it.
 */
export function attackBox(claim: Claim, random: Random, trajectories = 12, steps = 40): number {
  const { cell, bounds, input } = claim;
  const { state: box, within } = bounds;
  const { lower, upper } = box;
  const slack = rounding(claim) * 64;
  let worst = 0;
  for (let i = 0; i < trajectories; i++) {
    const unit = random.int(0, lower.length - 1);
    const sign = random.pick([-1, 1]);
    const greedy = i % 3 !== 0;
    const outward = within && random.chance(0.5);
    const goal = (next: Float64Array) => (outward ? distanceFromCentre(within, next) : sign * next[unit]!);
    let state: Float64Array = claim.initial;
    for (let t = 0; t < steps; t++) {
      for (let j = 0; j < state.length; j++) {
        const radius = (upper[j]! - lower[j]!) / 2;
        if (radius === Infinity) continue;
        const excess = Math.max(state[j]! - upper[j]!, lower[j]! - state[j]!) - slack * (1 + Math.abs(state[j]!));
        if (excess > 0) worst = Math.max(worst, radius > 0 ? 1 + excess / radius : Infinity);
        else if (radius > 0) worst = Math.max(worst, 1 + Math.min(0, excess / radius));
      }
      if (within) worst = Math.max(worst, (distanceFromCentre(within, state) / within.radius) * (1 - 1e-12));
      const x = greedy ? worstInput(claim, state, goal, random) : pointIn(input, random);
      state = step(cell, x, state);
      if (!state.every((v) => Math.abs(v) < 1e100)) break;
    }
  }
  return worst;
}

interface Pair {
  readonly s: Float64Array;
  readonly t: Float64Array;
  readonly x: Float64Array;
  readonly y: Float64Array;
}

const differenceOf = (a: Float64Array, b: Float64Array) => a.map((v, i) => Math.abs(v - b[i]!));

/** Largest ratio of a difference after one step to what the operator allows. */
function pairRatio({ cell, bounds }: Claim, { s, t, x, y }: Pair, slack: number): number {
  const after = differenceOf(step(cell, x, s), step(cell, y, t));
  const allowed = bounds.compare(differenceOf(s, t), differenceOf(x, y));
  let worst = 0;
  for (let j = 0; j < after.length; j++) {
    if (Number.isNaN(allowed[j]!)) return Infinity;
    const excess = after[j]! - slack;
    if (excess > 0) worst = Math.max(worst, allowed[j]! > 0 ? excess / allowed[j]! : Infinity);
  }
  return worst;
}

const clampTo = (v: number, b: Box, i: number) => Math.min(b.upper[i]!, Math.max(b.lower[i]!, v));

/** A pair whose difference is aligned with the slopes of one unit, so that its changes add up instead of cancelling. */
function alignedPair({ cell, bounds, input }: Claim, random: Random, radius: number): Pair {
  const s = pointIn(bounds.state, random);
  const x = pointIn(input, random);
  const unit = random.int(0, s.length - 1);
  const here = step(cell, x, s)[unit]!;
  const t = Float64Array.from(s);
  for (let i = 0; i < s.length; i++) {
    const moved = Float64Array.from(s);
    moved[i] = moved[i]! + 1e-6;
    t[i] = clampTo(s[i]! + (step(cell, x, moved)[unit]! >= here ? radius : -radius), bounds.state, i);
  }
  return { s, t, x, y: x };
}

function startPair(claim: Claim, random: Random): Pair {
  return insidePair(claim, anyPair(claim, random));
}

function insidePair({ bounds }: Claim, pair: Pair): Pair {
  return { ...pair, s: drawnInside(bounds, pair.s), t: drawnInside(bounds, pair.t) };
}

function anyPair(claim: Claim, random: Random): Pair {
  const { bounds, input } = claim;
  const kind = random.int(0, 3);
  if (kind === 0)
    return {
      s: pointIn(bounds.state, random),
      t: pointIn(bounds.state, random),
      x: pointIn(input, random),
      y: pointIn(input, random),
    };
  if (kind === 1) return alignedPair(claim, random, random.logarithmic(1e-3, 1));
  const s = pointIn(bounds.state, random);
  const x = pointIn(input, random);
  const near = random.logarithmic(1e-4, 0.1);
  const t = s.map((v, i) => clampTo(v + random.uniform(-near, near), bounds.state, i));
  return { s, t, x, y: kind === 2 ? x : x.map((v, i) => clampTo(v + random.uniform(-near, near), input, i)) };
}

/** Changes one coordinate of a pair: to an end of the box, anywhere in it, next to its partner, or along with its partner. */
function mutated(claim: Claim, pair: Pair, random: Random): Pair {
  const { bounds, input } = claim;
  const next = {
    s: Float64Array.from(pair.s),
    t: Float64Array.from(pair.t),
    x: Float64Array.from(pair.x),
    y: Float64Array.from(pair.y),
  };
  const onState = random.chance(next.s.length / (next.s.length + next.x.length));
  const [a, b, box] = onState ? [next.s, next.t, bounds.state] : [next.x, next.y, input];
  const i = random.int(0, a.length - 1);
  const inside = (v: number) => clampTo(v, box, i);
  switch (random.int(0, 4)) {
    case 0:
      a[i] = pointIn(box, random)[i]!;
      break;
    case 1:
      b[i] = a[i]!;
      break;
    case 2:
      [a[i], b[i]] = [b[i]!, a[i]!];
      break;
    case 3: {
      const shift = random.uniform(-1, 1) * random.logarithmic(1e-3, 1);
      const [p, q] = [inside(a[i]! + shift), inside(b[i]! + shift)];
      [a[i], b[i]] = [p, q];
      break;
    }
    default:
      b[i] = inside(a[i]! + (b[i]! - a[i]!) * random.uniform(-2, 2));
  }
  return insidePair(claim, next);
}

/** Random, nearby and aligned pairs of states and inputs, some of them improved by coordinate ascent on the ratio. */
export function attackComparison(
  claim: Claim,
  random: Random,
  starts = 30,
  ascents = 4,
  moves = 80,
): { ratio: number; pairs: number } {
  const slack = rounding(claim);
  const tried = Array.from({ length: starts }, () => {
    const pair = startPair(claim, random);
    return { pair, ratio: pairRatio(claim, pair, slack) };
  }).sort((a, b) => b.ratio - a.ratio);
  let ratio = tried[0]!.ratio;
  for (let { pair, ratio: best } of tried.slice(0, ascents)) {
    for (let i = 0; i < moves; i++) {
      const next = mutated(claim, pair, random);
      const value = pairRatio(claim, next, slack);
      if (value > best) [pair, best] = [next, value];
    }
    ratio = Math.max(ratio, best);
  }
  return { ratio, pairs: starts + ascents * moves };
}

/** Pairs under equal inputs against λ in the certificate's own norm; the ratio is relative to λ. */
export function attackContraction(claim: Claim, { lambda, metric }: Contraction, random: Random, pairs: number): number {
  const { cell, bounds, input } = claim;
  const slack = metric.sizeOf(new Float64Array(metric.reach.length).fill(rounding(claim)));
  const change = (a: Float64Array, b: Float64Array) => a.map((v, j) => v - b[j]!);
  const ratioOf = ({ s, t, x }: Pair) => {
    const before = metric.norm(change(s, t));
    return before > 0 ? (metric.norm(change(step(cell, x, s), step(cell, x, t))) - slack) / before / lambda : 0;
  };
  let worst = 0;
  let best: Pair | null = null;
  for (let i = 0; i < pairs; i++) {
    let pair: Pair;
    if (best && i % 2 === 1) {
      const moved = mutated(claim, best, random);
      pair = { ...moved, y: moved.x };
    } else if (i % 4 === 0) {
      // A difference in proportion to the reach of each element: in a weighted max-norm the worst there is when all signs agree.
      const s = pointIn(bounds.state, random);
      const radius = random.logarithmic(1e-4, 0.3) / Math.max(...metric.reach);
      const t = s.map((v, j) => clampTo(v + random.pick([-1, 1]) * radius * metric.reach[j]!, bounds.state, j));
      const x = pointIn(input, random);
      pair = insidePair(claim, { s, t, x, y: x });
    } else {
      const made = startPair(claim, random);
      pair = { ...made, y: made.x };
    }
    const ratio = ratioOf(pair);
    if (ratio > worst) [worst, best] = [ratio, pair];
  }
  return worst;
}
