import type { GruCell } from '../../network/cell.js';
import type { GruRanges } from '../gru.js';
import { magnitude } from '../interval.js';
import { up } from '../rounding.js';
import { largestEigenvalueBound } from '../algebra/weightedGram.js';
import type { BlockProblem, Scales } from './blockSearch.js';
import { descend, type Slope } from './descent.js';
import { logisticSquares, mixtureSquares, type LogisticMaximum } from './gateMaxima.js';
import { SpectrumTracker } from './topSpectrum.js';
import { meetCondition, type UnitCondition } from './unitMultipliers.js';

/**
 * GRU in the metric P = diag(p). At any point of the segment between two states, with a_k = (R_k Δh)_j,
 *   Δh′ = z Δh + d z′ a_z + (1−z) S Δn,   d = h − n, S ≥ n′,
 *   linear_before_reset = 1:  Δn = r a_h + U r′ a_r,            U ≥ |(R_h h + R_bh)_j|,
 *   linear_before_reset = 0:  Δn = (R_h w)_j,  w = r Δh + H r′ a_r,  H ≥ |h_j|.
 * As for the LSTM, each unit has multipliers with p Δh′² ≤ Σ_k N_k y_k² for all gate values and all y; by Cauchy–Schwarz that is
 *   z²/N_0 + (d z′)²/N_z + (1−z)² S² B ≤ 1/p,   B = r²/N_h + (U r′)²/N_r  (or 1/N_n, and for w: r²/A + (H r′)²/B_r ≤ 1/q),
 * maximised over z and r at once. Summed over the units, λ² is the largest eigenvalue of
 *   P^−½ (diag(N_0) + Σ_k R_kᵀ diag(N_k) R_k) P^−½,
 * where with linear_before_reset = 0 the multipliers of w carry the factor ‖diag(√N_n) R_h diag(√q)⁻¹‖₂².
 */

const maximum: LogisticMaximum = { value: 0, y: 0, t: 0 };
/** Covers the rounding of a few operations on non-negative numbers. */
const slack = 1 + 1e-13;

/** sup over z of z²/N_0 + (d z′)²/N_z + (1−z)² rest. */
function updateSquares(r: GruRanges, j: number, n0: number, nz: number, rest: number) {
  const { lower, upper } = r.update.value;
  const d = r.distance[j]!;
  if (r.logistic) {
    const { value, y } = mixtureSquares(lower[j]!, upper[j]!, 1 / n0, rest, (d * d) / nz, maximum);
    return { value, keep: (y * y) / n0, gate: (d * y * (1 - y)) ** 2 / nz, take: (1 - y) ** 2 };
  }
  const keep = Math.max(Math.abs(lower[j]!), Math.abs(upper[j]!)) ** 2 / n0;
  const take = Math.max(Math.abs(1 - lower[j]!), Math.abs(1 - upper[j]!)) ** 2;
  const gate = (d * r.update.slope[j]!) ** 2 / nz;
  return { value: keep + gate + take * rest, keep, gate, take };
}

/** sup over r of r²/first + (size · r′)²/second. */
function resetSquares(r: GruRanges, j: number, first: number, second: number) {
  const { lower, upper } = r.reset.value;
  const size = r.gated[j]!;
  if (r.logistic) {
    const { value, y } = logisticSquares(lower[j]!, upper[j]!, 1 / first, (size * size) / second, maximum);
    return { value, direct: (y * y) / first, gate: (size * y * (1 - y)) ** 2 / second };
  }
  const direct = Math.max(Math.abs(lower[j]!), Math.abs(upper[j]!)) ** 2 / first;
  const gate = (size * r.reset.slope[j]!) ** 2 / second;
  return { value: direct + gate, direct, gate };
}

/** What the two forms of the reset gate have each for themselves; the point is made of logarithms. */
interface Form {
  readonly start: Float64Array;
  /** Parameters of a unit; the first is log p. */
  readonly parameters: number;
  slope(point: Float64Array): Slope | null;
  /** Estimate of λ² for the scales of the point. */
  estimate(point: Float64Array): number;
  /** λ² that is proven for them. */
  prove(point: Float64Array): Generator<number, number>;
}

/** Multipliers N_0, N_z, N_h, N_r relative to p, after log p. */
function resetAfter(cell: GruCell, r: GruRanges): Form {
  const n = cell.hiddenSize;
  const count = 4;
  const parameters = 1 + count;
  const condition: UnitCondition = { value: 0, fall: new Float64Array(count) };
  const tracker = new SpectrumTracker({
    b: new Float64Array(n),
    terms: [null, cell.update.recurrent, cell.candidate.recurrent, cell.reset.recurrent].map((matrix) => ({
      matrix,
      a: new Float64Array(n),
    })),
  });
  const evaluate = (point: Float64Array, j: number, shift: number) => {
    const at = j * parameters + 1;
    const multiplier = (k: number) => Math.exp(point[at + k]! + shift);
    const slope2 = r.slope[j]! ** 2;
    const reset = resetSquares(r, j, multiplier(2), multiplier(3));
    const update = updateSquares(r, j, multiplier(0), multiplier(1), slope2 * reset.value);
    condition.value = update.value * slack;
    condition.fall[0] = update.keep;
    condition.fall[1] = update.gate;
    condition.fall[2] = update.take * slope2 * reset.direct;
    condition.fall[3] = update.take * slope2 * reset.gate;
  };
  const meet = (point: Float64Array): boolean => {
    const { b, terms } = tracker.gram;
    for (let j = 0; j < n; j++) {
      const at = j * parameters;
      if (!meetCondition(point, at + 1, condition, (shift) => evaluate(point, j, shift))) return false;
      b[j] = Math.exp(-point[at]! / 2);
      for (let k = 0; k < count; k++) terms[k]!.a[j] = Math.exp((point[at]! + point[at + 1 + k]!) / 2);
    }
    return true;
  };
  return {
    start: new Float64Array(n * parameters),
    parameters,
    slope(point) {
      if (!meet(point)) return null;
      const { value, rowShares, columnShares } = tracker.spectrum();
      const gradient = new Float64Array(point.length);
      for (let j = 0; j < n; j++) {
        evaluate(point, j, 0);
        const { fall } = condition;
        const total = fall.reduce((a, b) => a + b, Number.MIN_VALUE);
        const energy = rowShares.reduce((sum, share) => sum + share[j]!, 0);
        gradient[j * parameters] = energy - columnShares[j]!;
        // More of one multiplier is paid back by all of the unit together.
        for (let k = 0; k < count; k++) gradient[j * parameters + 1 + k] = rowShares[k]![j]! - (energy * fall[k]!) / total;
      }
      return { value, gradient };
    },
    estimate: (point) => (meet(point) ? tracker.largest() : Infinity),
    *prove(point) {
      if (!meet(point)) return Infinity;
      return yield* largestEigenvalueBound(tracker.gram, tracker.largest());
    },
  };
}

/** Multipliers N_0, N_z, N_n relative to p after log p; then log q and the multipliers A, B_r of w relative to q. */
function resetBefore(cell: GruCell, r: GruRanges): Form {
  const n = cell.hiddenSize;
  const parameters = 7;
  const outer: UnitCondition = { value: 0, fall: new Float64Array(3) };
  const inner: UnitCondition = { value: 0, fall: new Float64Array(2) };
  const scale = () => new Float64Array(n);
  // ‖diag(√N_n) R_h diag(√q)⁻¹‖₂, then the matrix of λ, with N_0 and A as two terms of the identity.
  const middle = new SpectrumTracker({ b: scale(), terms: [{ matrix: cell.candidate.recurrent, a: scale() }] });
  const matrices = [null, null, cell.update.recurrent, cell.reset.recurrent];
  const tracker = new SpectrumTracker({ b: scale(), terms: matrices.map((matrix) => ({ matrix, a: scale() })) });
  const evaluateOuter = (point: Float64Array, j: number, shift: number) => {
    const at = j * parameters + 1;
    const multiplier = (k: number) => Math.exp(point[at + k]! + shift);
    const candidate = r.slope[j]! ** 2 / multiplier(2);
    const update = updateSquares(r, j, multiplier(0), multiplier(1), candidate);
    outer.value = update.value * slack;
    outer.fall[0] = update.keep;
    outer.fall[1] = update.gate;
    outer.fall[2] = update.take * candidate;
  };
  const evaluateInner = (point: Float64Array, j: number, shift: number) => {
    const at = j * parameters + 5;
    const reset = resetSquares(r, j, Math.exp(point[at]! + shift), Math.exp(point[at + 1]! + shift));
    inner.value = reset.value * slack;
    inner.fall[0] = reset.direct;
    inner.fall[1] = reset.gate;
  };
  const meet = (point: Float64Array): boolean => {
    for (let j = 0; j < n; j++) {
      const at = j * parameters;
      if (!meetCondition(point, at + 1, outer, (shift) => evaluateOuter(point, j, shift))) return false;
      if (!meetCondition(point, at + 5, inner, (shift) => evaluateInner(point, j, shift))) return false;
      const { b, terms } = tracker.gram;
      b[j] = Math.exp(-point[at]! / 2);
      terms[0]!.a[j] = Math.exp((point[at]! + point[at + 1]!) / 2);
      terms[2]!.a[j] = Math.exp((point[at]! + point[at + 2]!) / 2);
      middle.gram.terms[0]!.a[j] = Math.exp((point[at]! + point[at + 3]!) / 2);
      middle.gram.b[j] = Math.exp(-point[at + 4]! / 2);
    }
    return true;
  };
  /** The multipliers of w, once the norm in between is known. */
  const setInner = (point: Float64Array, tau: number) => {
    for (let j = 0; j < n; j++) {
      const at = j * parameters + 4;
      tracker.gram.terms[1]!.a[j] = tau * Math.exp((point[at]! + point[at + 1]!) / 2);
      tracker.gram.terms[3]!.a[j] = tau * Math.exp((point[at]! + point[at + 2]!) / 2);
    }
  };
  return {
    start: new Float64Array(n * parameters),
    parameters,
    slope(point) {
      if (!meet(point)) return null;
      const between = middle.spectrum();
      setInner(point, Math.sqrt(between.value));
      const { value, rowShares, columnShares } = tracker.spectrum();
      const [keep, direct, update, reset] = rowShares as [Float64Array, Float64Array, Float64Array, Float64Array];
      /** Share of λ² that passes through w. */
      const through = direct.reduce((a, b) => a + b, 0) + reset.reduce((a, b) => a + b, 0);
      const gradient = new Float64Array(point.length);
      for (let j = 0; j < n; j++) {
        const at = j * parameters;
        const candidate = through * between.rowShares[0]![j]!;
        evaluateOuter(point, j, 0);
        const energy = keep[j]! + update[j]! + candidate;
        const total = outer.fall.reduce((a, b) => a + b, Number.MIN_VALUE);
        gradient[at] = energy - columnShares[j]!;
        gradient[at + 1] = keep[j]! - (energy * outer.fall[0]!) / total;
        gradient[at + 2] = update[j]! - (energy * outer.fall[1]!) / total;
        gradient[at + 3] = candidate - (energy * outer.fall[2]!) / total;
        evaluateInner(point, j, 0);
        const within = direct[j]! + reset[j]!;
        const all = inner.fall.reduce((a, b) => a + b, Number.MIN_VALUE);
        gradient[at + 4] = within - through * between.columnShares[j]!;
        gradient[at + 5] = direct[j]! - (within * inner.fall[0]!) / all;
        gradient[at + 6] = reset[j]! - (within * inner.fall[1]!) / all;
      }
      return { value, gradient };
    },
    estimate(point) {
      if (!meet(point)) return Infinity;
      setInner(point, Math.sqrt(middle.largest()));
      return tracker.largest();
    },
    *prove(point) {
      if (!meet(point)) return Infinity;
      setInner(point, up(Math.sqrt(yield* largestEigenvalueBound(middle.gram, middle.largest())), 64));
      return yield* largestEigenvalueBound(tracker.gram, tracker.largest());
    },
  };
}

export class BlockGru implements BlockProblem {
  private readonly form: Form;
  readonly start: Float64Array;
  readonly possible: boolean;

  constructor(
    private readonly cell: GruCell,
    r: GruRanges,
  ) {
    this.form = cell.linearBeforeReset ? resetAfter(cell, r) : resetBefore(cell, r);
    this.start = this.form.start;
    const sizes = [
      r.slope,
      r.distance,
      r.gated,
      r.update.slope,
      r.reset.slope,
      magnitude(r.update.value),
      magnitude(r.reset.value),
    ];
    this.possible = sizes.every((v) => v.every(Number.isFinite));
  }

  *minimise(start: Float64Array, weights: number): Generator<number, Scales> {
    const point = yield* descend(
      start,
      weights,
      (at) => this.form.slope(at) ?? { value: Infinity, gradient: new Float64Array(at.length) },
    );
    return { point, lambda: this.lambdaOf(point) };
  }

  lambdaOf(point: Float64Array): number {
    return Math.sqrt(this.form.estimate(point.slice()));
  }

  *prove(point: Float64Array): Generator<number, number> {
    // Forming the scales from logarithms rounds a few times.
    return up(Math.sqrt(yield* this.form.prove(point)), 256);
  }

  scaleOf(point: Float64Array): Float64Array {
    return Float64Array.from({ length: this.cell.hiddenSize }, (_, j) => Math.exp(-point[j * this.form.parameters]! / 2));
  }
}
