import { distance, DrivenSystem, type CausalSystem } from '../../network/causalSystem.js';
import { Budget } from './budget.js';
import { orbitNear, type PeriodicOrbit } from './periodicOrbit.js';

/** Two trajectories under one input, their first state first. */
export type Paths = [Float64Array[], Float64Array[]];

const bisections = 40;

/**
 * The orbit on the edge between the basins of attraction of two trajectories (edge tracking: Skufca, Yorke, Eckhardt, Phys.
 * Rev. Lett. 96, 174101, 2006). Starts between the two are bisected; the nearer to the edge, the longer a trajectory stays
 * at the orbit on it, and where it moves least Newton's method takes over.
 * @param limit multiplications that it may cost
 * @returns null where no orbit was found that certainly repels
 */
export function* findSeparator(
  system: CausalSystem,
  common: readonly Float64Array[],
  [a, b]: Paths,
  limit: number,
): Generator<number, PeriodicOrbit | null> {
  const budget = new Budget(limit);
  const driven = new DrivenSystem(system, common);
  let [low, high] = [0, 1];
  let longest: Float64Array[] = [];
  for (let i = 0; i < bisections && budget.share < 1; i++) {
    const middle = (low + high) / 2;
    const path: Float64Array[] = [a[0]!.map((v, j) => v + middle * (b[0]![j]! - v))];
    let side: 'a' | 'b' | null = null;
    for (let t = 1; t < a.length && side === null; t++) {
      const state = driven.step(t - 1, path[t - 1]!);
      budget.spend(driven.cost);
      path.push(state);
      const near = 0.02 * distance(a[t]!, b[t]!);
      if (distance(state, a[t]!) <= near) side = 'a';
      else if (distance(state, b[t]!) <= near) side = 'b';
      yield 1;
    }
    if (path.length > longest.length) longest = path;
    if (side === null) break;
    if (side === 'a') low = middle;
    else high = middle;
  }
  const slowest = slowestAt(longest, common.length);
  const orbit = yield* orbitNear(system, longest[slowest]!, rotated(common, slowest), () => 1);
  return orbit && orbit.multiplier - orbit.error > 1 ? orbit : null;
}

/** Where a trajectory moves least in a period. */
function slowestAt(path: readonly Float64Array[], period: number): number {
  let slowest = 0;
  let least = Infinity;
  for (let t = 0; t + period < path.length; t++) {
    const moved = distance(path[t]!, path[t + period]!);
    if (moved < least) [slowest, least] = [t, moved];
  }
  return slowest;
}

/** The inputs of a period from entry `by` on. */
export function rotated(inputs: readonly Float64Array[], by: number): Float64Array[] {
  return inputs.map((_, i) => inputs[(i + by) % inputs.length]!);
}
