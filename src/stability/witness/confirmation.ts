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
/** Newton's method is tried where a state moves less than this in a period. */
const nearlySettled = 1e-2;

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
  const orbits: [PeriodicOrbit | null, PeriodicOrbit | null] = [
    yield* orbitOf(system, last[0], next, apart, budget),
    yield* orbitOf(system, last[1], next, apart, budget),
  ];
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

/** The orbit that a trajectory is on, or the attracting one that it creeps towards, much nearer than the other trajectory. */
function* orbitOf(
  system: CausalSystem,
  last: readonly Float64Array[],
  inputs: readonly Float64Array[],
  apart: number,
  budget: Budget,
): Generator<number, PeriodicOrbit | null> {
  const settled = settledOrbit(system, last, inputs);
  if (settled) return settled;
  const end = last[last.length - 1]!;
  const before = last[last.length - 1 - inputs.length];
  if (!before || distance(before, end) > nearlySettled) return null;
  const near = yield* orbitNear(system, end, inputs, () => budget.share);
  return near && isAttracting(near) && distance(near.states[0]!, end) < 0.1 * apart ? near : null;
}

function kindOf([a, b]: readonly [PeriodicOrbit | null, PeriodicOrbit | null]): WitnessKind {
  if (!a || !b) return 'unsettled';
  const scale = 1 + a.states[0]!.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
  return b.states.some((state) => distance(a.states[0]!, state) < 1e-6 * scale) ? 'two-phases' : 'two-orbits';
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
