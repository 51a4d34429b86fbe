import type { CausalSystem } from '../../network/causalSystem.js';
import { seededRandom } from '../../samples/random.js';
import type { Box } from '../interval.js';
import { Budget } from './budget.js';
import { confirm, type Confirmed } from './confirmation.js';
import { findCandidates } from './candidates.js';
import { TriedInputs } from './inputs.js';
import type { PeriodicOrbit } from './periodicOrbit.js';
import { findSeparator } from './separator.js';

/**
 * Proof by example that a recurrence does not forget: two histories, one common input from then on, and outputs that stay
 * apart. Truncated models of a length up to the number of common steps give one answer for both histories, so one of the two
 * errors is at least half of the distance.
 */
export interface Witness {
  readonly kind: WitnessKind;
  /** From the initial state; what differs. */
  readonly prefixes: readonly [InputPattern, InputPattern];
  /** What both are given afterwards. */
  readonly common: InputPattern;
  /** max |Δh| of the recurrent output after each step of the common input, entry 0 before the first. */
  readonly distances: Float64Array;
  /** max |Δh| of every component over the last steps. */
  readonly componentDistances: readonly number[];
  readonly orbits: readonly [PeriodicOrbit | null, PeriodicOrbit | null];
  /** An orbit between the two that repels: its multiplier is above 1 by more than its error. */
  readonly separator: PeriodicOrbit | null;
}

/**
 * two-orbits: the trajectories have arrived on different periodic orbits. two-phases: on one orbit, at different points of it.
 * unsettled: no orbit was found for one of them, as when the motion is chaotic or quasi-periodic, or drifts too slowly to tell.
 */
export type WitnessKind = 'two-orbits' | 'two-phases' | 'unsettled';

/** A short pattern of inputs that is repeated. */
export interface InputPattern {
  readonly pattern: readonly Float64Array[];
  readonly steps: number;
}

export interface WitnessOptions {
  /** Range of the inputs [inputSize]; for a source of tokens 0 and its last row. */
  readonly range: Box;
  /** Outputs closer than this count as merged. */
  readonly threshold: number;
  /** Multiplications that the search may cost; a confirmation that has begun is finished. */
  readonly budget: number;
  /** Steps of the common input for which motion that does not settle is followed; a large system's as far as the budget goes. */
  readonly steps: number;
  readonly seed: number;
}

/** The clearest first. */
const kinds: readonly WitnessKind[] = ['two-orbits', 'two-phases', 'unsettled'];

function isClearer(a: Confirmed, b: Confirmed | null): boolean {
  if (!b) return true;
  const order = kinds.indexOf(a.kind) - kinds.indexOf(b.kind);
  return order < 0 || (order === 0 && a.distances.at(-1)! > b.distances.at(-1)!);
}

/** @yields the share of the budget that is spent */
export function* findWitness(system: CausalSystem, options: WitnessOptions): Generator<number, Witness | null> {
  const budget = new Budget(options.budget);
  const inputs = new TriedInputs(system, options.range, seededRandom(options.seed));
  let best: Confirmed | null = null;
  for (const candidate of yield* findCandidates(system, inputs, options.threshold, budget)) {
    const confirmed = yield* confirm(system, candidate, options, budget);
    if (confirmed && isClearer(confirmed, best)) best = confirmed;
    if (best?.kind === 'two-orbits' || budget.share >= 1) break;
  }
  if (!best) return null;
  const { candidate, paths, ...witness } = best;
  const separator = best.kind === 'unsettled' ? null : yield* findSeparator(system, candidate.common, paths, options.budget / 4);
  return { ...witness, separator };
}
