import { DrivenSystem, outputComponents, outputOf, startOf, type CausalSystem } from '../network/causalSystem.js';
import { seededRandom } from '../samples/random.js';
import type { Box } from './interval.js';
import { distance, orbitNear, settledOrbit, settlingWindow, type PeriodicOrbit } from './periodicOrbit.js';

/**
 * Proof by example that a recurrence does not forget: two histories, one common input from then on, and outputs that stay
 * apart. Search: reach different states, drive them with one input, keep what does not merge.
 */

/** A short pattern of inputs that is repeated. */
export interface InputPattern {
  readonly pattern: readonly Float64Array[];
  readonly steps: number;
}

export interface Witness {
  /**
   * two-orbits: the trajectories settle on different attracting orbits. two-phases: on one orbit, at different points of it.
   * unsettled: neither orbit was found, as when the motion is chaotic or quasi-periodic, or drifts too slowly to tell.
   */
  readonly kind: 'two-orbits' | 'two-phases' | 'unsettled';
  /** From the initial state; what differs. */
  readonly prefixes: readonly [InputPattern, InputPattern];
  /** What both are given afterwards. */
  readonly common: InputPattern;
  /** max |Δh| of the recurrent output after each step of the common input, entry 0 before the first. */
  readonly distances: Float64Array;
  /** max |Δh| of every component at the end: over the last steps, as many as the motion's period at least. */
  readonly componentDistances: readonly number[];
  readonly orbits: readonly [PeriodicOrbit | null, PeriodicOrbit | null];
  /** An orbit between the two that repels: its multiplier is above 1 by more than its error. */
  readonly separator: PeriodicOrbit | null;
}

export interface WitnessOptions {
  /** Range of the inputs [inputSize]; for a source of tokens 0 and its last row. */
  readonly range: Box;
  /** Outputs closer than this count as merged. */
  readonly threshold: number;
  /** Multiplications that the search for a candidate may cost; what confirms one costs as much again at most twice. */
  readonly budget: number;
  /** Steps of the common input. */
  readonly steps: number;
  readonly seed: number;
}

const prefixSteps = 48;
const mostPrefixes = 14;
const mostCommons = 40;
/** Trajectories that are driven by one common input. */
const mostStates = 5;
const screeningSteps = 192;
/** From here on only the two farthest are followed. */
const pairingSteps = 64;
/** Merged trajectories are dropped this often. */
const mergingSteps = 16;
const edgeSteps = 256;
const bisections = 40;
/** Newton's method is tried where a state moves less than this in a period. */
const nearlySettled = 1e-2;
/** The clearest first. */
const kinds: readonly Witness['kind'][] = ['two-orbits', 'two-phases', 'unsettled'];

/** Inputs as a person would try them, the simple ones first. */
class Inputs {
  constructor(
    private readonly system: CausalSystem,
    private readonly range: Box,
    private readonly random: () => number,
  ) {}

  /** @param share of the range, from 0 to 1 */
  #at(share: (i: number) => number): Float64Array {
    const out = new Float64Array(this.system.inputSize);
    for (const { offset, size, tokens } of this.system.sources) {
      for (let i = offset; i < offset + size; i++) {
        const [low, high] = [this.range.lower[i]!, this.range.upper[i]!];
        const value = low + share(i) * (high - low);
        out[i] = tokens === null ? Math.min(high, Math.max(low, rounded(value))) : Math.round(value);
      }
    }
    return out;
  }

  held(share: number): Float64Array {
    return this.#at(() => share);
  }

  /** Zero where the range has it, else its middle. */
  rest(): Float64Array {
    const { lower, upper } = this.range;
    return this.#at((i) => (lower[i]! < 0 && upper[i]! > 0 ? -lower[i]! / (upper[i]! - lower[i]!) : 0.5));
  }

  corner(): Float64Array {
    return this.#at(() => (this.random() < 0.5 ? 0 : 1));
  }

  /** @param scale share of the range around its middle */
  scattered(scale: number): Float64Array {
    return this.#at(() => 0.5 + scale * (this.random() - 0.5));
  }

  prefixes(): Float64Array[][] {
    const held = [this.held(0), this.held(1), this.rest()].map((x) => [x]);
    const corners = Array.from({ length: 4 }, () => [this.corner()]);
    const scattered = [1, 0.3].map((scale) => [this.scattered(scale)]);
    const alternating = [
      [this.held(0), this.held(1)],
      [this.corner(), this.corner()],
    ];
    const noise = [4, 8, 8].map((length) => Array.from({ length }, () => this.scattered(1)));
    return [...held, ...corners, ...scattered, ...alternating, ...noise].slice(0, mostPrefixes);
  }

  *commons(): Generator<Float64Array[]> {
    yield [this.rest()];
    yield [this.held(0.5)];
    yield [this.held(1)];
    yield [this.held(0)];
    for (let i = 4; i < mostCommons; i++) {
      const kind = i % 5;
      if (kind === 4) yield [this.corner()];
      else if (kind === 3) yield [this.scattered(1), this.scattered(1)];
      else yield [this.scattered([1, 0.1, 0.4][kind]!)];
    }
  }
}

/** Four digits: a witness is read by people too. */
function rounded(value: number): number {
  return Number(value.toPrecision(4));
}

interface Reached {
  readonly prefix: InputPattern;
  readonly state: Float64Array;
}

/** What two starts became under a common input. */
interface Candidate {
  readonly starts: readonly [Reached, Reached];
  readonly common: readonly Float64Array[];
  readonly driven: DrivenSystem;
}

interface Confirmed {
  readonly witness: Witness;
  readonly candidate: Candidate;
  /** The two trajectories under the common input, their first `edgeSteps` steps. */
  readonly paths: Paths;
}

class Search {
  #spent = 0;
  readonly #outputs: ReturnType<typeof outputComponents>;

  constructor(
    private readonly system: CausalSystem,
    private readonly options: WitnessOptions,
  ) {
    this.#outputs = outputComponents(system);
  }

  get share(): number {
    return Math.min(1, this.#spent / this.options.budget);
  }

  outputDistance(a: Float64Array, b: Float64Array): number {
    return Math.max(...this.#outputs.map((c) => distance(outputOf(c, a), outputOf(c, b))));
  }

  *run(): Generator<number, Witness | null> {
    const inputs = new Inputs(this.system, this.options.range, seededRandom(this.options.seed));
    const reached: Reached[] = [];
    for (const pattern of inputs.prefixes()) {
      if (reached.length > 2 && this.share > 0.25) break;
      const driven = new DrivenSystem(this.system, pattern);
      let state = startOf(this.system);
      for (let t = 0; t < prefixSteps; t++) {
        state = driven.step(t, state);
        this.#spent += driven.cost;
        yield this.share;
      }
      if (state.every(Number.isFinite)) reached.push({ prefix: { pattern, steps: prefixSteps }, state });
    }
    const starts = this.#spread(reached);
    let best: Confirmed | null = null;
    for (const common of inputs.commons()) {
      if (this.share >= 1 || best?.witness.kind === 'two-orbits') break;
      const candidate = yield* this.#screen(starts, common);
      const confirmed = candidate && (yield* this.#confirm(candidate));
      if (!confirmed) continue;
      if (best === null || kinds.indexOf(confirmed.witness.kind) < kinds.indexOf(best.witness.kind)) best = confirmed;
    }
    if (!best || best.witness.kind === 'unsettled') return best && best.witness;
    return { ...best.witness, separator: yield* this.#separator(best) };
  }

  /** The states that are farthest from one another, greedily. */
  #spread(reached: readonly Reached[]): Reached[] {
    const chosen = reached.slice(0, 1);
    const gap = (r: Reached) => Math.min(...chosen.map((c) => distance(c.state, r.state)));
    while (chosen.length < mostStates) {
      const next = reached.reduce<Reached | null>((best, r) => (best === null || gap(r) > gap(best) ? r : best), null);
      if (!next || !(gap(next) > 0)) break;
      chosen.push(next);
    }
    return chosen;
  }

  /** Drives all states with one input; the two that end farthest apart, or null when they merge. */
  *#screen(starts: readonly Reached[], common: readonly Float64Array[]): Generator<number, Candidate | null> {
    const driven = new DrivenSystem(this.system, common);
    let alive = starts.map((start) => ({ start, state: start.state }));
    for (let t = 0; t < screeningSteps; t++) {
      alive = alive.map(({ start, state }) => ({ start, state: driven.step(t, state) }));
      this.#spent += driven.cost * alive.length;
      yield this.share;
      if ((t + 1) % mergingSteps > 0) continue;
      alive = alive.filter((a, i) => !alive.slice(0, i).some((b) => !(distance(a.state, b.state) > this.options.threshold)));
      if (t + 1 === pairingSteps) alive = this.#farthest(alive);
      if (alive.length < 2 || this.share >= 1) return null;
    }
    const [a, b] = this.#farthest(alive);
    return a && b ? { starts: [a.start, b.start], common, driven } : null;
  }

  /** The two whose outputs are farthest apart; none where no outputs are. */
  #farthest<T extends { state: Float64Array }>(among: readonly T[]): T[] {
    let best: T[] = [];
    let farthest = this.options.threshold;
    for (const [i, a] of among.entries()) {
      for (const b of among.slice(0, i)) {
        const apart = this.outputDistance(a.state, b.state);
        if (apart > farthest && apart < Infinity) [best, farthest] = [[b, a], apart];
      }
    }
    return best;
  }

  *#confirm(candidate: Candidate): Generator<number, Confirmed | null> {
    const {
      starts: [a, b],
      common,
      driven,
    } = candidate;
    const { steps: asked, threshold } = this.options;
    // All the steps that are asked for, or what the budget allows.
    const steps = Math.min(asked, Math.max(200, Math.floor(this.options.budget / driven.cost)));
    const distances = new Float64Array(asked + 1);
    const paths: Paths = [[a.state], [b.state]];
    const last: Paths = [[a.state], [b.state]];
    let states: readonly [Float64Array, Float64Array] = [a.state, b.state];
    distances[0] = this.outputDistance(...states);
    let mark = { t: 0, states };
    let repeats: number | null = null;
    let t = 0;
    while (t < steps && repeats === null) {
      states = [driven.step(t, states[0]), driven.step(t, states[1])];
      t++;
      this.#spent += 2 * driven.cost;
      distances[t] = this.outputDistance(...states);
      for (const side of [0, 1] as const) {
        if (t <= edgeSteps) paths[side].push(states[side]);
        last[side].push(states[side]);
        if (last[side].length > settlingWindow) last[side].shift();
      }
      // Brent's cycle detection: when both states are what they were at a mark, bit for bit, the rest is known.
      const since = t - mark.t;
      if (since % common.length === 0 && same(states[0], mark.states[0]) && same(states[1], mark.states[1])) repeats = since;
      if (since >= Math.max(1, mark.t)) mark = { t, states };
      if (t % mergingSteps === 0 && !(distance(...states) > threshold)) return null;
      yield this.share;
    }
    const known = repeats === null ? t : asked;
    if (repeats !== null) for (let u = t + 1; u <= asked; u++) distances[u] = distances[u - repeats]!;
    const seen = distances.subarray(0, known + 1);
    if (!staysApart(seen, threshold)) return null;
    const next = rotated(common, t);
    const apart = distance(...states);
    const orbits: [PeriodicOrbit | null, PeriodicOrbit | null] = [
      yield* this.#orbitOf(last[0], next, apart),
      yield* this.#orbitOf(last[1], next, apart),
    ];
    // Fewer steps than asked for are believed only where both trajectories have arrived.
    if (known < asked && !orbits.every((orbit) => orbit && orbit.multiplier + orbit.error < 1)) return null;
    const witness: Witness = {
      kind: kindOf(orbits),
      prefixes: [a.prefix, b.prefix],
      common: { pattern: common, steps: known },
      distances: seen,
      componentDistances: this.system.components.map((c) =>
        last[0].reduce((m, state, i) => Math.max(m, distance(outputOf(c, state), outputOf(c, last[1][i]!))), 0),
      ),
      orbits,
      separator: null,
    };
    return { witness, candidate, paths };
  }

  /** The orbit that a trajectory is on, or the attracting one that it creeps towards, much nearer than the other trajectory. */
  *#orbitOf(
    last: readonly Float64Array[],
    inputs: readonly Float64Array[],
    apart: number,
  ): Generator<number, PeriodicOrbit | null> {
    const settled = settledOrbit(this.system, last, inputs);
    if (settled) return settled;
    const end = last[last.length - 1]!;
    const before = last[last.length - 1 - inputs.length];
    if (!before || distance(before, end) > nearlySettled) return null;
    const near = yield* this.#newton(end, inputs);
    return near && near.multiplier + near.error < 1 && distance(near.states[0]!, end) < 0.1 * apart ? near : null;
  }

  *#newton(start: Float64Array, inputs: readonly Float64Array[]): Generator<number, PeriodicOrbit | null> {
    const search = orbitNear(this.system, start, inputs);
    let next = search.next();
    while (!next.done) {
      yield this.share;
      next = search.next();
    }
    return next.value;
  }

  /**
   * The orbit on the edge between the two basins of attraction (edge tracking: Skufca, Yorke, Eckhardt, Phys. Rev. Lett. 96,
   * 174101, 2006). Starts between the two states are bisected; the nearer to the edge, the longer a trajectory stays at the
   * orbit on it, and where it moves least Newton's method takes over.
   */
  *#separator({ paths: [a, b], candidate: { common, driven } }: Confirmed): Generator<number, PeriodicOrbit | null> {
    let [low, high] = [0, 1];
    let longest: Float64Array[] = [];
    let budget = this.options.budget / 2;
    for (let i = 0; i < bisections && budget > 0; i++) {
      const middle = (low + high) / 2;
      const path: Float64Array[] = [a[0]!.map((v, j) => v + middle * (b[0]![j]! - v))];
      let side: 'a' | 'b' | null = null;
      for (let t = 1; t < Math.min(a.length, b.length) && side === null; t++) {
        const state = driven.step(t - 1, path[t - 1]!);
        budget -= driven.cost;
        path.push(state);
        const near = 0.02 * distance(a[t]!, b[t]!);
        if (distance(state, a[t]!) <= near) side = 'a';
        else if (distance(state, b[t]!) <= near) side = 'b';
        yield this.share;
      }
      if (path.length > longest.length) longest = path;
      if (side === null) break;
      if (side === 'a') low = middle;
      else high = middle;
    }
    const period = common.length;
    let slowest = -1;
    let least = Infinity;
    for (let t = 0; t + period < longest.length; t++) {
      const moved = distance(longest[t]!, longest[t + period]!);
      if (moved < least) [slowest, least] = [t, moved];
    }
    if (slowest < 0) return null;
    const orbit = yield* this.#newton(longest[slowest]!, rotated(common, slowest));
    return orbit && orbit.multiplier - orbit.error > 1 ? orbit : null;
  }
}

/** Two trajectories, their first state first. */
type Paths = [Float64Array[], Float64Array[]];

function same(a: Float64Array, b: Float64Array): boolean {
  return a.every((v, i) => v === b[i]!);
}

/** The inputs of a period from entry `by` on. */
function rotated(inputs: readonly Float64Array[], by: number): Float64Array[] {
  return inputs.map((_, i) => inputs[(i + by) % inputs.length]!);
}

function kindOf([a, b]: readonly [PeriodicOrbit | null, PeriodicOrbit | null]): Witness['kind'] {
  if (!a || !b) return 'unsettled';
  const scale = 1 + a.states[0]!.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
  return b.states.some((state) => distance(a.states[0]!, state) < 1e-6 * scale) ? 'two-phases' : 'two-orbits';
}

/** True when the distance does not fall in the second half. */
function staysApart(distances: Float64Array, threshold: number): boolean {
  const bins = 10;
  const largest = (bin: number) =>
    distances
      .subarray(Math.floor((bin * distances.length) / bins), Math.floor(((bin + 1) * distances.length) / bins))
      .reduce((m, v) => Math.max(m, v), 0);
  const late = [5, 6, 7, 8, 9].map(largest);
  return late.every((v) => v > threshold) && late[4]! > 0.9 * late[0]! && Number.isFinite(late[4]!);
}

/** @yields the share of the budget that is spent; it stays at 1 while a candidate is confirmed */
export function findWitness(system: CausalSystem, options: WitnessOptions): Generator<number, Witness | null> {
  return new Search(system, options).run();
}
