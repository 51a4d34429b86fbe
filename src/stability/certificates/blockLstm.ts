import type { LstmCell } from '../../network/cell.js';
import type { LstmRanges } from '../lstm.js';
import { up } from '../rounding.js';
import { largestEigenvalueBound } from '../algebra/weightedGram.js';
import type { BlockProblem, Scales } from './blockSearch.js';
import { descend } from './descent.js';
import { evaluateLstmCondition, lstmGates, lstmUnits, newCondition, type LstmUnit } from './lstmCondition.js';
import { SpectrumTracker } from './topSpectrum.js';
import { meetCondition } from './unitMultipliers.js';

/**
 * LSTM in the metric P = diag(p_h, p_c). At any point of the segment between two states, unit j maps its five differences
 * y = (Δc, a_f, a_i, a_g, a_o), a_k = (R_k Δh)_j, to
 *   Δc′ = vᵀy,  v = (f, c f′, g i′, i g′, 0),     Δh′ = α Δc′ + β a_o,  α = o(1−τ²), β = τ o′, τ = tanh c′.
 * With free multipliers N = (N_c, N_f, N_i, N_g, N_o) > 0 per unit,
 *   (1)  p_c Δc′² + p_h Δh′² ≤ Σ_k N_k y_k²   for all gate values and all y,
 *   (2)  N_c = λ² p_c   and   ‖ diag(√N_k) [R_f; R_i; R_g; R_o] diag(p_h)^−½ ‖₂ ≤ λ
 * give ‖Φ(s,x) − Φ(s′,x)‖_P ≤ λ‖s − s′‖_P by summing (1) over the units (the norm of an average of Jacobians is at most the largest).
 * (1) says that a 2×2 Gram matrix is at most I: with s = Σ_k v_k²/N_k it reads
 *   p_c s < 1  and  p_h (α² A + β²/N_o) ≤ 1,  A = s / (1 − p_c s),
 * which is monotone in s, α and β. So s is maximised over all (f, i, g) at once and the sum over all (o, τ) at once, where separate suprema
 * of every gate and slope would be far larger. p and N are found by descent on their logarithms; the spectral norm is then proven.
 */

/** Parameters of a unit: log p_h, log p_c and log N of four gates, all but the first relative to p_h. */
const parameters = 2 + lstmGates;

export class BlockLstm implements BlockProblem {
  private readonly units: LstmUnit[];
  private readonly condition = newCondition();
  private readonly multipliers = new Float64Array(lstmGates);
  private readonly spectrum: SpectrumTracker;
  /** sup of ∂c′/∂c over all units: λ cannot be smaller. */
  private readonly smallestLambda: number;
  readonly start: Float64Array;

  constructor(cell: LstmCell, ranges: LstmRanges) {
    this.units = lstmUnits(cell, ranges);
    this.smallestLambda = this.units.reduce((m, u) => Math.max(m, u.forgetting), 0);
    const scale = () => new Float64Array(cell.hiddenSize);
    const matrices = [
      cell.coupled ? null : cell.forget.recurrent,
      ...[cell.input, cell.candidate, cell.output].map((g) => g.recurrent),
    ];
    this.spectrum = new SpectrumTracker({ b: scale(), terms: matrices.map((matrix) => ({ matrix, a: scale() })) });
    this.start = new Float64Array(this.units.length * parameters);
  }

  get possible(): boolean {
    // Nothing contracts a cell state whose forget gate can be one.
    return this.smallestLambda < 1 && this.units.every((u) => Number.isFinite(u.cell) && Number.isFinite(u.alpha + u.beta));
  }

  /** Raises p_c to where (1) can hold at λ: above α²F² / (λ² − F²), the limit of infinite multipliers. */
  private liftCellWeights(point: Float64Array, lambda: number): void {
    for (const [j, { alpha, forgetting }] of this.units.entries()) {
      const floor = (alpha * forgetting) ** 2 / (lambda * lambda - forgetting * forgetting);
      point[j * parameters + 1] = Math.max(point[j * parameters + 1]!, Math.log(1.05 * floor + 1e-12));
    }
  }

  private evaluate(point: Float64Array, j: number, lambda: number, shift = 0): void {
    const { multipliers } = this;
    const at = j * parameters;
    for (let k = 0; k < lstmGates; k++) multipliers[k] = Math.exp(point[at + 2 + k]! + shift);
    evaluateLstmCondition(this.units[j]!, Math.exp(point[at + 1]!), lambda, multipliers, this.condition);
  }

  /** Makes (1) hold at λ by moving the multipliers, and sets the matrix of (2); false where p_c is too small for that. */
  private meetConditions(point: Float64Array, lambda: number): boolean {
    const { b, terms } = this.spectrum.gram;
    for (let j = 0; j < this.units.length; j++) {
      const meets = meetCondition(point, j * parameters + 2, this.condition, (shift) => this.evaluate(point, j, lambda, shift));
      if (!meets) return false;
      const half = point[j * parameters]! / 2;
      b[j] = Math.exp(-half);
      for (let k = 0; k < lstmGates; k++) terms[k]!.a[j] = Math.exp(half + point[j * parameters + 2 + k]! / 2);
    }
    if (this.units[0]!.coupled) terms[0]!.a.fill(0);
    return true;
  }

  /** log σ of condition (2) with its gradient along (1) = 1, and how fast log σ falls with log λ. */
  private slope(point: Float64Array, lambda: number): { sigma: number; gradient: Float64Array; stiffness: number } | null {
    this.liftCellWeights(point, lambda);
    if (!this.meetConditions(point, lambda)) return null;
    const { value, rowShares, columnShares } = this.spectrum.spectrum();
    const gradient = new Float64Array(point.length);
    let stiffness = 0;
    for (let j = 0; j < this.units.length; j++) {
      this.evaluate(point, j, lambda);
      const { fall, cellSlope, lambdaFall } = this.condition;
      const total = fall[0]! + fall[1]! + fall[2]! + fall[3]! + Number.MIN_VALUE;
      const energy = rowShares[0]![j]! + rowShares[1]![j]! + rowShares[2]![j]! + rowShares[3]![j]!;
      const at = j * parameters;
      gradient[at] = energy - columnShares[j]!;
      // More weight for the cell state, or for one gate, is paid for by all multipliers of the unit together.
      gradient[at + 1] = (energy * cellSlope * Math.exp(point[at + 1]!)) / total;
      for (let k = 0; k < lstmGates; k++) gradient[at + 2 + k] = rowShares[k]![j]! - (energy * fall[k]!) / total;
      stiffness += (energy * lambdaFall) / total;
    }
    return { sigma: Math.sqrt(value), gradient, stiffness: Math.max(0, stiffness) };
  }

  *minimise(start: Float64Array, weights: number): Generator<number, Scales> {
    const least = this.smallestLambda * (1 + 1e-6) + 1e-9;
    let lambda = Math.max(0.9, Math.sqrt(least));
    const point = yield* descend(start, weights, (at) => {
      const slope = this.slope(at, lambda);
      if (!slope) return { value: Infinity, gradient: new Float64Array(at.length) };
      const { sigma, gradient, stiffness } = slope;
      const value = Math.log(Math.max(sigma, lambda));
      // The scales certify the larger of both. A Newton step in log(λ − least) leads to where they are equal; σ is steep near the least λ.
      const above = lambda - this.smallestLambda;
      const change = (Math.log(sigma / lambda) * lambda) / (above * (1 + stiffness));
      lambda = Math.max(this.smallestLambda + above * Math.exp(Math.min(1.5, Math.max(-1.5, change))), least);
      return { value, gradient };
    });
    return { point, lambda: this.lambdaOf(point, lambda) };
  }

  /** The λ, close from above, that equals σ(λ) for these scales: σ falls as λ grows, because N_c = λ² p_c grows. */
  lambdaOf(point: Float64Array, guess: number): number {
    // Products with large matrices are what this costs.
    const [steps, tolerance] = this.units.length <= 512 ? [20, 1e-3] : [8, 4e-3];
    let [low, high, lambda] = [this.smallestLambda, Infinity, guess];
    // log(σ/λ) at both ends.
    let [above, below] = [Infinity, 0];
    for (let i = 0; i < 30 && lambda < 16; i++) {
      const sigma = this.meetConditions(point.slice(), lambda) ? Math.sqrt(this.spectrum.largest(steps)) : Infinity;
      const excess = Math.log(sigma / lambda);
      if (excess > 0) [low, above] = lambda > low ? [lambda, excess] : [low, above];
      else [high, below, above] = [lambda, excess, above / 2];
      if (high < low * (1 + tolerance) || (high === lambda && excess > -2 * tolerance)) return high;
      if (high === Infinity) lambda *= Number.isFinite(excess) ? Math.min(1.3, Math.exp(excess / 2) * (1 + 3e-4)) : 1.3;
      // Regula falsi, whose line lies above the convex curve, with the halved end of the Illinois method.
      else if (Number.isFinite(above)) lambda = low + (high - low) * Math.max(0.02, Math.min(0.98, above / (above - below)));
      else lambda = Math.max((low + high) / 2, lambda * Math.exp(excess / 2));
    }
    return high;
  }

  *prove(point: Float64Array, lambda: number): Generator<number, number> {
    if (!this.meetConditions(point, lambda)) return Infinity;
    const sigma = up(Math.sqrt(yield* largestEigenvalueBound(this.spectrum.gram, this.spectrum.largest())));
    // Forming the scales and the matrix of (2) from logarithms rounds a few times.
    return up(Math.max(lambda, sigma), 256);
  }

  scaleOf(point: Float64Array): Float64Array {
    const n = this.units.length;
    return Float64Array.from({ length: 2 * n }, (_, i) => {
      const at = (i % n) * parameters;
      return Math.exp(-(point[at]! + (i < n ? 0 : point[at + 1]!)) / 2);
    });
  }
}
