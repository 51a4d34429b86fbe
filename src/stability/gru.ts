import type { GruCell } from '../network/cell.js';
import type { CellBounds } from './cellBounds.js';
import type { InputPath } from './inputEffect.js';
import type { Metric } from './certificates/certificate.js';
import {
  activated,
  activationRange,
  box,
  clipped,
  imageOf,
  magnitude,
  mixtureOf,
  pointBox,
  productOf,
  slopeBound,
  sumOf,
  times,
  type Box,
} from './interval.js';
import { logisticMix, logisticSum } from './jointMaxima.js';
import {
  boundedGate,
  gateRange,
  preActivationChange,
  reachableBox,
  unbounded,
  upperMatrixProduct,
  upperProduct,
  type Enclosure,
  type GateRange,
} from './reachable.js';
import { up } from './rounding.js';

/** Suprema over every gate value and state that can occur, per unit. */
export interface GruRanges {
  readonly kind: 'gru';
  /** Logistic gates, whose slopes are functions of their values. */
  readonly logistic: boolean;
  readonly update: GateRange;
  readonly reset: GateRange;
  /** sup of the candidate's slope. */
  readonly slope: Float64Array;
  /** sup |h − n|. */
  readonly distance: Float64Array;
  /** What the reset gate multiplies: sup |R_h h + R_bh| with linear_before_reset, sup |h| without. */
  readonly gated: Float64Array;
}

/**
 * GRU: h′ = z h + (1−z) n. With a_z, a_r the changes of the gates' pre-activations, S = sup n′ and n's own change
 *   linear_before_reset = 1:  N = S · ( |W_h||Δx| + sup_r [r (|R_h||Δh|) + U r(1−r) a_r] ),  U = sup |R_h h + R_bh|
 *   linear_before_reset = 0:  N = S · ( |W_h||Δx| + |R_h| sup_r [r |Δh| + H r(1−r) a_r] ),   H = sup |h|
 * the mean value theorem gives |Δh′| ≤ sup_z [z |Δh| + (1−z) N + |h − n| z(1−z) a_z], all at one point of the segment.
 */
export function boundGru(cell: GruCell, input: Box, initial: Box, within: Enclosure | null): CellBounds {
  const n = cell.hiddenSize;
  const gatesFor = (x: Box) => ({
    update: boundedGate(cell.update, x, within),
    reset: boundedGate(cell.reset, x, within),
    candidate: boundedGate(cell.candidate, x, within),
  });
  const gates = gatesFor(input);

  const ranges = (h: Box, { update, reset, candidate } = gates) => {
    const z = gateRange(update, h, cell.clip);
    const r = gateRange(reset, h, cell.clip);
    const bias = pointBox(cell.recurrentBias);
    const recurrent = candidate.recurrentShare
      ? sumOf(candidate.recurrentShare, bias)
      : imageOf(cell.candidate.recurrent, h, bias);
    const share = cell.linearBeforeReset
      ? sumOf(candidate.inputShare, productOf(r.value, recurrent))
      : within
        ? sumOf(candidate.inputShare, within.share(cell.candidate.recurrent, r.value))
        : imageOf(cell.candidate.recurrent, productOf(r.value, h), candidate.inputShare);
    const pre = clipped(share, cell.clip);
    return {
      z,
      r,
      recurrent,
      value: activated(cell.candidate.activation, pre),
      slope: slopeBound(cell.candidate.activation, pre),
    };
  };
  const image = (h: Box, x?: Box): Box => {
    const { z, value } = ranges(h, x && gatesFor(x));
    return mixtureOf(z.value, h, value);
  };

  const [low, high] = activationRange(cell.candidate.activation, -cell.clip, cell.clip).value;
  const start = Number.isFinite(low) && Number.isFinite(high) ? box(n, low, high) : unbounded(n);
  const state = reachableBox(initial, () => start, image, within);
  const { z, r, recurrent, value, slope } = ranges(state);
  const gatedSize = magnitude(cell.linearBeforeReset ? recurrent : state);
  const distance = state.upper.map((v, j) => Math.max(v - value.lower[j]!, value.upper[j]! - state.lower[j]!));
  const logistic = cell.update.activation.name === 'Sigmoid' && cell.reset.activation.name === 'Sigmoid';

  /** sup of r·a + size·slope(r)·b over the reset gate of unit j. */
  const resetChange = (j: number, a: number, size: number, b: number): number =>
    logistic
      ? logisticSum(r.value.lower[j]!, r.value.upper[j]!, a, times(size, b))
      : times(Math.max(Math.abs(r.value.lower[j]!), Math.abs(r.value.upper[j]!)), a) + times(times(size, r.slope[j]!), b);
  const updateChange = (j: number, dh: number, dn: number, b: number): number => {
    const [zLow, zHigh] = [z.value.lower[j]!, z.value.upper[j]!];
    if (logistic) return logisticMix(zLow, zHigh, dh, dn, times(distance[j]!, b));
    return (
      times(Math.max(Math.abs(zLow), Math.abs(zHigh)), dh) +
      times(Math.max(Math.abs(1 - zLow), Math.abs(1 - zHigh)), dn) +
      times(times(distance[j]!, z.slope[j]!), b)
    );
  };

  const { update, reset, candidate } = gates;
  const compare = (dh: Float64Array, dx: Float64Array | null, limits?: readonly Float64Array[]): Float64Array => {
    const az = preActivationChange(update, dh, dx, limits?.[0]);
    const ar = preActivationChange(reset, dh, dx, limits?.[1]);
    const least = (sum: Float64Array) => (limits ? sum.map((v, j) => Math.min(v, limits[2]![j]!)) : sum);
    let inner: Float64Array;
    if (cell.linearBeforeReset) {
      const direct = least(upperProduct(candidate.absRecurrent, dh));
      inner = direct.map((v, j) => resetChange(j, v, gatedSize[j]!, ar[j]!));
    } else {
      const gated = dh.map((v, j) => resetChange(j, v, gatedSize[j]!, ar[j]!));
      inner = least(upperProduct(candidate.absRecurrent, gated));
    }
    if (dx) upperProduct(candidate.absInput, dx, inner);
    return inner.map((v, j) => up(updateChange(j, dh[j]!, up(times(slope[j]!, v)), az[j]!)));
  };
  const recurrentNorms = (metric: Metric): Float64Array[] => {
    const norms = [cell.update, cell.reset, cell.candidate].map((gate) => metric.rowNorms(gate.recurrent));
    if (cell.linearBeforeReset) return norms;
    // The candidate sees w = r Δh + H r′ a_r, whose norm is at most sup r + ‖H r′ a_r‖ for a difference of norm one.
    const open = magnitude(r.value).reduce((a, b) => Math.max(a, b), 0);
    const through = r.slope.map((slope, j) => up(times(times(gatedSize[j]!, slope), norms[1]![j]!)));
    const size = up(open + metric.sizeOf(through));
    return [norms[0]!, norms[1]!, norms[2]!.map((v) => up(v * size))];
  };
  // What the update gate, the candidate and the reset gate make of a change by one of their pre-activations.
  const ofUpdate = slope.map((_, j) => up(updateChange(j, 0, 0, 1)));
  const ofCandidate = slope.map((s, j) => up(updateChange(j, 0, s, 0)));
  const ofReset = slope.map((_, j) => up(resetChange(j, 0, gatedSize[j]!, 1)));
  const throughReset: InputPath = cell.linearBeforeReset
    ? { matrix: cell.reset.input, share: ofReset.map((v, j) => up(times(ofCandidate[j]!, v))) }
    : { matrix: upperMatrixProduct(candidate.absRecurrent, ofReset, reset.absInput), share: ofCandidate };
  return {
    state,
    image,
    input,
    inputPaths: [
      { matrix: cell.update.input, share: ofUpdate },
      { matrix: cell.candidate.input, share: ofCandidate },
      throughReset,
    ],
    recurrentNorms,
    compare,
    ranges: { kind: 'gru', logistic, update: z, reset: r, slope, distance, gated: gatedSize },
    gates: new Map([
      ['update', z.value],
      ['reset', r.value],
      ['candidate', value],
    ]),
  };
}
