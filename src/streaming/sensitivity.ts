import { seededRandom } from '../samples/random.js';
import type { Frame, State, StateMap } from './stateMap.js';
import type { Stream } from './streams.js';

/** How errors of the state grow along real trajectories, by finite differences through the model itself. */
export interface Sensitivity {
  /** Largest Lyapunov exponent per frame, natural logarithm; negative: errors shrink. */
  readonly exponent: number;
  /** Standard error of the exponent, from the means over the streams' parts. */
  readonly standardError: number;
  /**
   * ‖∂s′/∂s‖₂ at points of a stream, the largest, and ‖J_p … J_1‖₂ over p consecutive frames; null where the state is too
   * large to differentiate whole.
   */
  readonly jacobian: { readonly oneStep: number; readonly product: number; readonly frames: number } | null;
}

/** The state moves by this share of its size: far above float32's rounding, far below its curvature. */
const relativeStep = 1e-3;
const burnIn = 16;
const parts = 8;
/** Largest state whose whole Jacobian is computed, and for how many consecutive frames. */
const largestJacobian = 600;
const productLength = 4;
const budgetMilliseconds = 8_000;

const norm = (v: Float64Array) => Math.sqrt(v.reduce((sum, x) => sum + x * x, 0));

/** @returns null where the streams are too short */
export async function measureSensitivity(
  map: StateMap,
  streams: readonly Stream[],
  yieldTo: () => Promise<void>,
): Promise<Sensitivity | null> {
  const random = seededRandom(271_828);
  const rates: number[] = [];
  const begun = performance.now();
  for (const stream of streams.slice(0, 4)) {
    if (performance.now() - begun > budgetMilliseconds / 2 && rates.length > 0) break;
    const growth = await growthAlong(map, stream, random, yieldTo);
    const length = Math.floor(growth.length / parts);
    if (length < 2) continue;
    for (let i = 0; i < parts; i++) rates.push(growth.slice(i * length, (i + 1) * length).reduce((a, b) => a + b, 0) / length);
  }
  if (rates.length < 2) return null;
  const mean = rates.reduce((a, b) => a + b, 0) / rates.length;
  const variance = rates.reduce((sum, r) => sum + (r - mean) ** 2, 0) / (rates.length - 1);
  const jacobians = map.stateSize <= largestJacobian ? await jacobiansAlong(map, streams[0]!, yieldTo) : null;
  return {
    exponent: mean,
    standardError: Math.sqrt(variance / rates.length),
    jacobian: jacobians && {
      oneStep: Math.max(...jacobians.map((j) => spectralNorm([j], map.stateSize))),
      product: spectralNorm(jacobians, map.stateSize),
      frames: jacobians.length,
    },
  };
}

/**
 * Logarithms of the growth of a small error, renewed to its size after every step (Benettin's method): its direction turns
 * to the one that grows fastest.
 */
async function growthAlong(map: StateMap, stream: Stream, random: () => number, yieldTo: () => Promise<void>): Promise<number[]> {
  let state = map.initial();
  let direction = Float64Array.from({ length: map.stateSize }, () => 2 * random() - 1);
  const growth: number[] = [];
  for (const [t, frame] of stream.entries()) {
    const next = (await map.step(state, frame)).state;
    if (t >= 4) {
      const size = relativeStep * (norm(state) || 1);
      const length = norm(direction);
      const moved = state.map((v, i) => v + (direction[i]! * size) / length);
      const other = (await map.step(moved, frame)).state;
      const difference = other.map((v, i) => v - next[i]!);
      const distance = norm(difference);
      // A dead error is renewed at random: the exponent is then at most what rounding can show.
      direction = distance > 0 ? difference : direction.map(() => 2 * random() - 1);
      if (t >= 4 + burnIn) growth.push(Math.log(Math.max(distance, 1e-7 * size) / size));
    }
    state = next;
    if (t % 16 === 0) await yieldTo();
  }
  return growth;
}

/** ∂s′/∂s at consecutive frames in the middle of a stream, row-major [S, S]; fewer where time runs out. */
async function jacobiansAlong(map: StateMap, stream: Stream, yieldTo: () => Promise<void>): Promise<Float64Array[] | null> {
  const from = Math.floor(stream.length / 2);
  let state = map.initial();
  for (let t = 0; t < from; t++) state = (await map.step(state, stream[t]!)).state;
  const found: Float64Array[] = [];
  const begun = performance.now();
  for (let t = from; t < Math.min(stream.length, from + productLength); t++) {
    if (performance.now() - begun > budgetMilliseconds / 2 && found.length > 0) break;
    found.push(await jacobian(map, state, stream[t]!, yieldTo));
    state = (await map.step(state, stream[t]!)).state;
  }
  return found.length > 0 ? found : null;
}

/** Central differences: error of second order in the step, which float32 needs to be no smaller than this. */
async function jacobian(map: StateMap, state: State, frame: Frame, yieldTo: () => Promise<void>): Promise<Float64Array> {
  const size = state.length;
  const out = new Float64Array(size * size);
  const largest = state.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
  const h = 4 * relativeStep * (largest || 1);
  for (let c = 0; c < size; c++) {
    const at = async (delta: number) => {
      const moved = Float64Array.from(state);
      moved[c] = moved[c]! + delta;
      return (await map.step(moved, frame)).state;
    };
    const [up, down] = [await at(h), await at(-h)];
    for (let r = 0; r < size; r++) out[r * size + c] = (up[r]! - down[r]!) / (2 * h);
    if (c % 32 === 0) await yieldTo();
  }
  return out;
}

/** ‖J_p … J_1‖₂ by power iteration; approached from below. */
function spectralNorm(factors: readonly Float64Array[], size: number): number {
  let v: Float64Array = Float64Array.from({ length: size }, (_, i) => 1 + ((i * 7919) % 97) / 97);
  let value = 0;
  const times = (m: Float64Array, x: Float64Array, transposed: boolean) => {
    const out = new Float64Array(size);
    for (let r = 0; r < size; r++)
      for (let c = 0; c < size; c++) {
        if (transposed) out[c] = out[c]! + m[r * size + c]! * x[r]!;
        else out[r] = out[r]! + m[r * size + c]! * x[c]!;
      }
    return out;
  };
  for (let i = 0; i < 50; i++) {
    const length = norm(v);
    if (length === 0) return 0;
    v = v.map((x) => x / length);
    const forward = factors.reduce((x, m) => times(m, x, false), v);
    value = norm(forward);
    v = [...factors].reverse().reduce((x, m) => times(m, x, true), forward);
  }
  return value;
}
