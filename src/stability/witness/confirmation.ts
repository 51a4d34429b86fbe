import { distance, DrivenSystem, outputDistance, outputOf, type CausalSystem } from '../../network/causalSystem.js';
import type { Budget } from './budget.js';
import type { Candidate } from './candidates.js';
import { isAttracting, orbitNear, settledOrbit, settlingWindow, type PeriodicOrbit } from './periodicOrbit.js';
import { rotated, type Paths } from './separator.js';
import type { Witness, WitnessKind, WitnessOptions } from './witness.js';

/** A candidate that has stood the test, before its separator is looked for. */
export interface Confirmed extends Omit<Witness, 'separator'> {
  readonly candidate: Candidate;
  readonly paths: Paths;
}

/** Trajectories that have arrived on orbits by this share of the steps need not be followed further. */
const firstLook = 1 / 3;
const fewestSteps = 200;
/** As many first steps as `findSeparator` needs. */
const pathSteps = 256;
/** A trajectory creeps if it moves less than this share of the distance between the two in a period. */
const slow = 0.1;
/** It has arrived at an orbit where it is nearer to it than this share. */
const near = 0.01;

/** Drives both states of a candidate for many steps; null where the outputs merge, or come closer all the time. */
export function* confirm(
  system: CausalSystem,
  candidate: Candidate,
  { steps: asked, threshold, budget: limit }: WitnessOptions,
  budget: Budget,
): Generator<number, Confirmed | null> {
  const {
    starts: [a, b],
    common,
  } = candidate;
  const driven = new DrivenSystem(system, common);
  const most = Math.min(asked, Math.max(fewestSteps, Math.floor(limit / (4 * driven.cost))));
  const look = Math.min(most, Math.ceil(asked * firstLook));
  const distances = new Float64Array(most + 1);
  const paths: Paths = [[a.state], [b.state]];
  const last: Paths = [[a.state], [b.state]];
  let states: readonly [Float64Array, Float64Array] = [a.state, b.state];
  distances[0] = outputDistance(system, ...states);
  for (let t = 1; t <= most; t++) {
    states = [driven.step(t - 1, states[0]), driven.step(t - 1, states[1])];
    budget.spend(2 * driven.cost);
    distances[t] = outputDistance(system, ...states);
    for (const side of [0, 1] as const) {
      if (t <= pathSteps) paths[side].push(states[side]);
      last[side].push(states[side]);
      if (last[side].length > settlingWindow) last[side].shift();
    }
    if (!(distance(...states) > threshold)) return null;
    yield budget.share;
    if (t !== look && t !== most) continue;
    const seen = distances.subarray(0, t + 1);
    if (!staysApart(seen, threshold)) return null;
    const orbits = yield* orbitsAhead(system, last, rotated(common, t), budget);
    if (orbits === 'merging') return null;
    const settled = orbits.every((orbit) => orbit && isAttracting(orbit));
    // Fewer steps than asked for are believed only where both trajectories have arrived.
    if (!settled && t < asked) continue;
    return {
      kind: kindOf(orbits),
      prefixes: [a.prefix, b.prefix],
      common: { pattern: common, steps: t },
      distances: seen,
      componentDistances: system.components.map((c) =>
        last[0].reduce((m, state, i) => Math.max(m, distance(outputOf(c, state), outputOf(c, last[1][i]!))), 0),
      ),
      orbits,
      candidate,
      paths,
    };
  }
  return null;
}

/** The orbits that two trajectories have arrived at, null for one that has not; `merging` where both creep towards one orbit. */
function* orbitsAhead(
  system: CausalSystem,
  last: Paths,
  inputs: readonly Float64Array[],
  budget: Budget,
): Generator<number, Witness['orbits'] | 'merging'> {
  const ends = [last[0].at(-1)!, last[1].at(-1)!] as const;
  const apart = distance(...ends);
  const ahead = [
    yield* orbitAhead(system, last[0], inputs, slow * apart, budget),
    yield* orbitAhead(system, last[1], inputs, slow * apart, budget),
  ] as const;
  if (ahead[0] && ahead[1] && isSame(ahead[0].states[0]!, ahead[1].states[0]!)) return 'merging';
  const arrived = (side: 0 | 1) => {
    const orbit = ahead[side];
    return orbit && distance(orbit.states[0]!, ends[side]) < near * apart ? orbit : null;
  };
  return [arrived(0), arrived(1)];
}

/**
 * The orbit that a trajectory is on, or an attracting one that it creeps towards.
 * @param step longest step of a trajectory that creeps, in a period
 */
function* orbitAhead(
  system: CausalSystem,
  last: readonly Float64Array[],
  inputs: readonly Float64Array[],
  step: number,
  budget: Budget,
): Generator<number, PeriodicOrbit | null> {
  const settled = settledOrbit(system, last, inputs);
  if (settled) return settled;
  const end = last[last.length - 1]!;
  const before = last[last.length - 1 - inputs.length];
  if (!before || distance(before, end) > step) return null;
  const orbit = yield* orbitNear(system, end, inputs, () => budget.share);
  return orbit && isAttracting(orbit) ? orbit : null;
}

function kindOf([a, b]: Witness['orbits']): WitnessKind {
  if (!a || !b) return 'unsettled';
  return b.states.some((state) => isSame(a.states[0]!, state)) ? 'two-phases' : 'two-orbits';
}

function isSame(a: Float64Array, b: Float64Array): boolean {
  return distance(a, b) < 1e-6 * (1 + a.reduce((m, v) => Math.max(m, Math.abs(v)), 0));
}

/**
 * True when distances stay above the threshold and do not fall in their second half. By means over tenths, because the
 * distance of two oscillations is small at times.
 */
export function staysApart(distances: Float64Array, threshold: number): boolean {
  const tenth = (n: number) => Math.floor((n * distances.length) / 10);
  const late = [5, 6, 7, 8, 9].map((n) => {
    const part = distances.subarray(tenth(n), tenth(n + 1));
    return part.reduce((sum, d) => sum + d, 0) / part.length;
  });
  return late.every((mean) => mean > threshold && mean < Infinity) && late[4]! > 0.9 * late[0]!;
}
