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
  const steps = Math.min(asked, Math.max(fewestSteps, Math.floor(limit / (4 * driven.cost))));
  const distances = new Float64Array(steps + 1);
  const paths: Paths = [[a.state], [b.state]];
  const last: Paths = [[a.state], [b.state]];
  let states: readonly [Float64Array, Float64Array] = [a.state, b.state];
  distances[0] = outputDistance(system, ...states);
  for (let t = 1; t <= steps; t++) {
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
  }
  if (!staysApart(distances, threshold)) return null;
  const next = rotated(common, steps);
  const apart = distance(...states);
  const ahead = [
    yield* orbitAhead(system, last[0], next, slow * apart, budget),
    yield* orbitAhead(system, last[1], next, slow * apart, budget),
  ] as const;
  // Both creep towards one orbit: they forget, only slowly.
  if (ahead[0] && ahead[1] && isSame(ahead[0].states[0]!, ahead[1].states[0]!)) return null;
  const arrived = (side: 0 | 1) => {
    const orbit = ahead[side];
    return orbit && distance(orbit.states[0]!, states[side]) < near * apart ? orbit : null;
  };
  const orbits = [arrived(0), arrived(1)] as const;
  // Fewer steps than asked for are believed only where both trajectories have arrived.
  if (steps < asked && !orbits.every((orbit) => orbit && isAttracting(orbit))) return null;
  return {
    kind: kindOf(orbits),
    prefixes: [a.prefix, b.prefix],
    common: { pattern: common, steps },
    distances,
    componentDistances: system.components.map((c) =>
      last[0].reduce((m, state, i) => Math.max(m, distance(outputOf(c, state), outputOf(c, last[1][i]!))), 0),
    ),
    orbits,
    candidate,
    paths,
  };
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
 * True when distances stay above the threshold and do not fall in their second half. By tenths, because the distance of two
 * oscillations is small at times.
 */
export function staysApart(distances: ArrayLike<number>, threshold: number): boolean {
  const tenth = (n: number) => Math.floor((n * distances.length) / 10);
  const late = [5, 6, 7, 8, 9].map((n) => {
    let largest = 0;
    for (let t = tenth(n); t < tenth(n + 1); t++) largest = Math.max(largest, distances[t]!);
    return largest;
  });
  return late.every((v) => v > threshold && v < Infinity) && late[4]! > 0.9 * late[0]!;
}
