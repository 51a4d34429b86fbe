import type { History } from '../measurement/history.js';
import { causalSystem, singleSystem, type CausalSystem } from '../network/causalSystem.js';
import { outputLayers, type RecurrentNetwork } from '../network/network.js';
import type { Diagnostic, WitnessReport } from '../report/report.js';
import { witnessInWords } from '../report/witnessWords.js';
import { isFinite, type Box } from '../stability/interval.js';
import { anyInput, defaultInputRange, sourceBox, type InputRange, type LayerBounds } from '../stability/networkBounds.js';
import { staysApart } from '../stability/witness/confirmation.js';
import { isAttracting, type PeriodicOrbit } from '../stability/witness/periodicOrbit.js';
import { findWitness, type InputPattern, type Witness, type WitnessOptions } from '../stability/witness/witness.js';
import { drive } from './analyse.js';
import type { Progress } from './jobs.js';

/** The search for a witness of instability within a check: of the whole network, else of single layers. */

/** Two outputs that are this far apart in float64 are so in float32 too. */
const smallestThreshold = 1e-3;
/** Common steps, by the cell equations and in ONNX Runtime. */
const commonSteps = 3000;
/** Multiplications: some seconds each. */
const budgets = { model: 3e9, layers: 2e9 } as const;
const seed = 18051;
/** Distances that the report keeps. */
const keptDistances = 200;

/**
 * Distances of the recurrent output in the model itself after each step of the common input.
 * @returns null where the model cannot be fed so
 */
export type Replay = (
  system: CausalSystem,
  histories: readonly [History, History],
  steps: number,
) => Promise<Float64Array | null>;

/** What a search is for, and how it tells its progress. */
export interface WitnessSearch {
  readonly network: RecurrentNetwork;
  /** Of every layer. */
  readonly bounds: readonly LayerBounds[];
  readonly range: InputRange;
  readonly epsilon: number;
  /** null: the layers do not account for the whole model, so only single ones are looked at. */
  readonly replay: Replay | null;
  progress(fraction: number): Promise<void>;
}

export async function searchWitness(search: WitnessSearch): Promise<WitnessReport | null> {
  // The error of a truncated model is at least half of the distance: above ε, then.
  const threshold = Math.max(2 * search.epsilon, smallestThreshold);
  return (await witnessOfModel(search, threshold)) ?? (await witnessOfLayer(search, threshold));
}

const options = (range: Box, threshold: number, budget: number): WitnessOptions => ({
  range,
  threshold,
  budget,
  steps: commonSteps,
  seed,
});

/** The layers that the model's inputs drive, together. */
function wholeSystems(network: RecurrentNetwork): CausalSystem[] {
  const outputs = new Set(outputLayers(network));
  return [false, true].flatMap((reverse) => {
    const system = causalSystem(network, reverse, () => true);
    return system?.outputs.every((c) => outputs.has(c.layer)) ? [system] : [];
  });
}

async function witnessOfModel(
  { network, range, replay, progress }: WitnessSearch,
  threshold: number,
): Promise<WitnessReport | null> {
  if (!replay) return null;
  for (const system of wholeSystems(network)) {
    const search = findWitness(system, options(inputBox(system, range), threshold, budgets.model));
    const witness = await drive(search, (f) => progress(f / 3));
    if (!witness) continue;
    const replayed = await replayWitness(system, witness, threshold, replay);
    return describe(network, system, witness, threshold, 'model', replayed);
  }
  return null;
}

async function witnessOfLayer(
  { network, bounds, replay, progress }: WitnessSearch,
  threshold: number,
): Promise<WitnessReport | null> {
  // A system of one layer has been searched already.
  const searched = replay ? wholeSystems(network).flatMap(({ components }) => (components.length === 1 ? components : [])) : [];
  const left = network.layers.flatMap((layer, l) =>
    layer.directions.flatMap((_, d) =>
      isFinite(bounds[l]!.input) && !searched.some((c) => c.layer === l && c.direction === d) ? [[l, d] as const] : [],
    ),
  );
  let found: WitnessReport | null = null;
  for (const [i, [l, d]] of left.entries()) {
    const system = singleSystem(network, l, d);
    const search = findWitness(system, options(bounds[l]!.input, threshold, budgets.layers / left.length));
    const witness = await drive(search, (f) => progress((1 + (2 * (i + f)) / left.length) / 3));
    if (!witness || (found && witness.kind === 'unsettled')) continue;
    found = describe(network, system, witness, threshold, 'layer', null);
    if (witness.kind === 'two-orbits') break;
  }
  return found;
}

function inputBox({ sources, inputSize }: CausalSystem, range: InputRange): Box {
  const stated = range === anyInput ? defaultInputRange : range;
  const out = { lower: new Float64Array(inputSize), upper: new Float64Array(inputSize) };
  for (const { name, size, offset, tokens } of sources) {
    const box = tokens === null ? sourceBox(stated, name, size) : { lower: [0], upper: [tokens - 1] };
    out.lower.set(box.lower, offset);
    out.upper.set(box.upper, offset);
  }
  return out;
}

async function replayWitness(
  system: CausalSystem,
  { prefixes, common }: Witness,
  threshold: number,
  replay: Replay,
): Promise<WitnessReport['replay']> {
  const history = (prefix: InputPattern): History => ({
    steps: prefix.steps + commonSteps,
    at(name, t) {
      const source = system.sources.find((s) => s.name === name);
      const [{ pattern }, step] = t < prefix.steps ? [prefix, t] : [common, t - prefix.steps];
      return source ? pattern[step % pattern.length]!.subarray(source.offset, source.offset + source.size) : null;
    },
  });
  const distances = await replay(system, [history(prefixes[0]), history(prefixes[1])], commonSteps);
  if (!distances) return null;
  const apart = lastApart(distances, threshold);
  return {
    steps: apart,
    distance: distances[apart]!,
    staysApart: staysApart(distances, threshold),
    distances: thinned(distances),
  };
}

/** The last step at which the outputs are apart: those of oscillations meet at times. */
function lastApart(distances: Float64Array, threshold: number): number {
  return Math.max(
    0,
    distances.findLastIndex((d) => d > threshold),
  );
}

function describe(
  network: RecurrentNetwork,
  system: CausalSystem,
  witness: Witness,
  threshold: number,
  of: WitnessReport['of'],
  replay: WitnessReport['replay'],
): WitnessReport {
  const pattern = ({ pattern, steps }: InputPattern) => ({
    steps,
    pattern: Object.fromEntries(
      system.sources.map(({ name, size, offset }) => [name, pattern.map((x) => [...x.subarray(offset, offset + size)])]),
    ),
  });
  const orbit = (o: PeriodicOrbit | null) => o && { period: o.states.length, multiplier: o.multiplier, error: o.error };
  const layers = system.components.filter((_, i) => witness.componentDistances[i]! > threshold);
  const steps = lastApart(witness.distances, threshold);
  return {
    kind: witness.kind,
    of,
    layers: layers.map((c) => network.layers[c.layer]!.name),
    reverse: system.reverse,
    prefixes: [pattern(witness.prefixes[0]), pattern(witness.prefixes[1])],
    common: { ...pattern(witness.common), steps },
    distance: witness.distances[steps]!,
    threshold,
    distances: thinned(witness.distances.subarray(0, steps + 1)),
    persistent: witness.orbits.every((o) => o !== null && isAttracting(o)),
    orbits: witness.orbits.map(orbit),
    separator: orbit(witness.separator),
    replay,
  };
}

/** Fewer distances for the report, each the largest since the one before. */
function thinned(distances: Float64Array): WitnessReport['distances'] {
  const last = distances.length - 1;
  const stride = Math.max(1, Math.ceil(last / keptDistances));
  const step: number[] = [];
  const distance: number[] = [];
  for (let t = 0; t <= last; t = t === last ? last + 1 : Math.min(last, t + stride)) {
    step.push(t);
    distance.push(distances.subarray(Math.max(0, t - stride + 1), t + 1).reduce((m, v) => Math.max(m, v), 0));
  }
  return { step, distance };
}

export function witnessDiagnostic(witness: WitnessReport | null): Diagnostic[] {
  if (!witness) return [];
  return [
    {
      code: 'witness-found',
      severity: 'information',
      ...(witness.of === 'layer' ? { layer: witness.layers[0]! } : {}),
      message: witnessInWords(witness),
    },
  ];
}

export const searching = (progress: Progress, from: number, to: number) => (f: number) =>
  progress('Searching for inputs that it does not forget', from + (to - from) * f);
