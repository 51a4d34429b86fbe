import { multiplications } from '../network/cell.js';
import { step } from '../network/forward.js';
import { linearize, type Linearization } from '../network/linearization.js';
import type { LayerDirection, RecurrentNetwork } from '../network/network.js';
import { signalValue } from '../network/signalValues.js';
import { cellRunner, startState } from './cellRunner.js';
import { stepsOf, type SourceSequence } from './sequences.js';
import { outputWidth } from './windowRuns.js';

/** How differences of the state grow or shrink along real trajectories, to first order. Measured, no bound of anything. */
export interface LayerAlongData {
  /** Largest Lyapunov exponent: mean of log ‖J v‖ for the direction v that has turned into the slowest one; −∞ where all is forgotten in a few steps. */
  readonly exponent: number;
  /** Standard error of the exponent, from the spread between sequences, or between parts of a single one. */
  readonly standardError: number;
  /** ‖J‖₂ of single steps, in ascending order. */
  readonly jacobianNorms: Float64Array;
}

/** Multiplications that this may cost: under a second. */
const budget = 3e8;
/** Steps after which the direction has turned, and the state has left its start; a third of the sequence where that is less. */
const settling = 16;
const shortestRun = 12;
/** Norms are taken at one of so many steps, with at most so many products. */
const every = 8;
const mostPowers = 40;
const longestRun = 256;
/** Parts of a sequence that stand in for sequences where there are too few: their spread overestimates little once they outlast the memory. */
const parts = 8;

/**
 * One direction of a layer after the other, its inputs as the layers below give them: a stack of layers is a cascade, so its
 * Jacobian is block-triangular and its largest exponent is the largest of its layers'.
 * @returns by layer: the slower of its directions; null where sequences are too short
 */
export async function alongData(
  network: RecurrentNetwork,
  sequences: readonly SourceSequence[],
): Promise<LayerAlongData[] | null> {
  const long = sequences.filter((s) => stepsOf(s) >= shortestRun);
  if (long.length === 0) return null;
  const steps = Math.min(longestRun, ...long.map(stepsOf));
  const perStep = network.layers
    .flatMap((l) => l.directions)
    .reduce((sum, { cell }) => sum + 8 * multiplications(cell) + 6000, 0);
  const count = Math.max(1, Math.min(long.length, 200, Math.floor(budget / (perStep * steps))));
  // Spread over the samples, which may be in an order.
  const chosen = Array.from({ length: count }, (_, i) => long[Math.floor((i * long.length) / count)]!);
  const cells = cellRunner(network);
  const runs = network.layers.map((layer) => layer.directions.map((): DirectionRun => ({ logs: [], norms: [] })));
  for (const source of chosen) {
    const { hidden } = await cells.run([{ source, from: 0, to: steps }]);
    network.layers.forEach((layer, index) => {
      const inputs = Array.from({ length: steps }, (_, t) =>
        signalValue(
          layer.input,
          (name) => source.get(name)![t]!,
          (below) => {
            const width = outputWidth(network.layers[below]!);
            return hidden[below]!.subarray(t * width, (t + 1) * width);
          },
        ),
      );
      layer.directions.forEach((direction, d) =>
        follow(direction, direction.reverse ? [...inputs].reverse() : inputs, runs[index]![d]!),
      );
    });
  }
  return runs.map((directions) => directions.map(summarise).reduce((a, b) => (b.exponent > a.exponent ? b : a)));
}

interface DirectionRun {
  /** log ‖J v‖ of every step after settling, one list for each sequence. */
  readonly logs: number[][];
  readonly norms: number[];
}

/** Carries one direction of the tangent space along a run. */
function follow(direction: LayerDirection, inputs: readonly Float64Array[], run: DirectionRun): void {
  const { cell } = direction;
  let state = startState(direction);
  // Any direction has a part along the slowest one; this one has no zero to lose it in.
  let v = normalised(state.map((_, i) => 1 + ((i * 7) % 11) / 11))!;
  const logs: number[] = [];
  const settled = Math.min(settling, Math.floor(inputs.length / 3));
  inputs.forEach((x, t) => {
    const derivative = linearize(cell, x, state);
    const moved = derivative.tangent(v);
    const size = Math.hypot(...moved);
    if (t >= settled) logs.push(Math.log(size));
    // What is forgotten altogether starts again; its log stays −∞.
    v = normalised(moved) ?? v;
    if (t >= settled && (t - settled) % every === 0) run.norms.push(spectralNorm(derivative, v));
    state = step(cell, x, state);
  });
  run.logs.push(logs);
}

/** ‖J‖₂ by power iteration on JᵀJ, which approaches it from below. */
function spectralNorm(derivative: Linearization, start: Float64Array): number {
  let v = start;
  let norm = 0;
  for (let i = 0; i < mostPowers; i++) {
    const moved = derivative.tangent(v);
    const size = Math.hypot(...moved);
    const back = normalised(derivative.pullback(moved));
    if (!back || size <= norm * (1 + 1e-4)) return Math.max(norm, size);
    norm = size;
    v = back;
  }
  return norm;
}

function normalised(v: Float64Array): Float64Array | null {
  const size = Math.hypot(...v);
  return size > 0 && Number.isFinite(size) ? v.map((x) => x / size) : null;
}

function summarise({ logs, norms }: DirectionRun): LayerAlongData {
  const groups = logs.length >= parts ? logs : logs.flatMap((log) => split(log, Math.ceil(parts / logs.length)));
  const means = groups.map(mean);
  const exponent = mean(means);
  const spread = Math.sqrt(means.reduce((sum, m) => sum + (m - exponent) ** 2, 0) / (means.length - 1));
  return {
    exponent,
    standardError: Number.isFinite(exponent) ? spread / Math.sqrt(means.length) : 0,
    jacobianNorms: Float64Array.from(norms).sort(),
  };
}

const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;

function split(values: readonly number[], count: number): number[][] {
  return Array.from({ length: count }, (_, i) =>
    values.slice(Math.floor((i * values.length) / count), Math.floor(((i + 1) * values.length) / count)),
  );
}
