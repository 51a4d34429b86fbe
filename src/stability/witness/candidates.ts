import { distance, DrivenSystem, outputDistance, startOf, type CausalSystem } from '../../network/causalSystem.js';
import type { Budget } from './budget.js';
import type { TriedInputs } from './inputs.js';
import type { InputPattern } from './witness.js';

/** Two states that were reached, and a common input under which their outputs did not merge while the search looked. */
export interface Candidate {
  readonly starts: readonly [Reached, Reached];
  readonly common: readonly Float64Array[];
  /** How far the two still moved in the last period, at most. */
  readonly moved: number;
}

export interface Reached {
  readonly prefix: InputPattern;
  readonly state: Float64Array;
}

const prefixSteps = 48;
/** Trajectories that are driven by one common input. */
const mostStates = 5;
const screeningSteps = 192;
/** From here on only the two farthest are followed. */
const pairingSteps = 64;
/** Merged trajectories are dropped this often. */
const mergingSteps = 16;

/**
 * @param threshold outputs closer than this count as merged
 * @returns those whose motion has come nearest to rest first: they are the cheapest to be sure of
 */
export function* findCandidates(
  system: CausalSystem,
  inputs: TriedInputs,
  threshold: number,
  budget: Budget,
): Generator<number, Candidate[]> {
  const starts = spread(yield* reachStates(system, inputs, budget));
  const found: Candidate[] = [];
  for (const common of inputs.commons()) {
    if (budget.share >= 0.5) break;
    const candidate = yield* screen(system, starts, common, threshold, budget);
    if (candidate) found.push(candidate);
  }
  return found.sort((a, b) => a.moved - b.moved);
}

/** Where different histories lead. */
function* reachStates(system: CausalSystem, inputs: TriedInputs, budget: Budget): Generator<number, Reached[]> {
  const reached: Reached[] = [];
  for (const pattern of inputs.prefixes()) {
    if (reached.length > 2 && budget.share > 0.125) break;
    const driven = new DrivenSystem(system, pattern);
    let state = startOf(system);
    for (let t = 0; t < prefixSteps; t++) {
      state = driven.step(t, state);
      budget.spend(driven.cost);
      yield budget.share;
    }
    if (state.every(Number.isFinite)) reached.push({ prefix: { pattern, steps: prefixSteps }, state });
  }
  return reached;
}

/** The states that are farthest from one another, greedily. */
function spread(reached: readonly Reached[]): Reached[] {
  const chosen = reached.slice(0, 1);
  const gap = (r: Reached) => Math.min(...chosen.map((c) => distance(c.state, r.state)));
  while (chosen.length < mostStates) {
    const next = reached.reduce<Reached | null>((best, r) => (best === null || gap(r) > gap(best) ? r : best), null);
    if (!next || !(gap(next) > 0)) break;
    chosen.push(next);
  }
  return chosen;
}

interface Trajectory {
  readonly start: Reached;
  readonly state: Float64Array;
}

/** Drives all states with one input; the two that end farthest apart, or null when they merge. */
function* screen(
  system: CausalSystem,
  starts: readonly Reached[],
  common: readonly Float64Array[],
  threshold: number,
  budget: Budget,
): Generator<number, Candidate | null> {
  const driven = new DrivenSystem(system, common);
  let alive: Trajectory[] = starts.map((start) => ({ start, state: start.state }));
  let mark = alive;
  for (let t = 0; t < screeningSteps; t++) {
    if (t === screeningSteps - common.length) mark = alive;
    alive = alive.map(({ start, state }) => ({ start, state: driven.step(t, state) }));
    budget.spend(driven.cost * alive.length);
    yield budget.share;
    if ((t + 1) % mergingSteps > 0) continue;
    alive = alive.filter((a, i) => !alive.slice(0, i).some((b) => !(distance(a.state, b.state) > threshold)));
    if (t + 1 === pairingSteps) alive = farthest(system, alive, threshold);
    if (alive.length < 2) return null;
  }
  const [a, b] = farthest(system, alive, threshold);
  if (!a || !b) return null;
  const moved = ({ start, state }: Trajectory) => distance(state, mark.find((m) => m.start === start)!.state);
  return { starts: [a.start, b.start], common, moved: Math.max(moved(a), moved(b)) };
}

/** The two whose outputs are farthest apart; none where no outputs are. */
function farthest(system: CausalSystem, among: readonly Trajectory[], threshold: number): Trajectory[] {
  let best: Trajectory[] = [];
  let largest = threshold;
  for (const [i, a] of among.entries()) {
    for (const b of among.slice(0, i)) {
      const apart = outputDistance(system, a.state, b.state);
      if (apart > largest && apart < Infinity) [best, largest] = [[b, a], apart];
    }
  }
  return best;
}
