import type { LstmCell } from '../../network/cell.js';
import type { LstmRanges } from '../lstm.js';
import { up } from '../rounding.js';
import { largestEigenvalueBound } from '../algebra/weightedGram.js';
import { contractionCertificate, scaledEuclideanNorm, type CellCertificate } from './certificate.js';
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

/** Parameters of a unit: log p_h, log of the cell state's weight above its floor, log N of four gates; all but the first relative to p_h. */
const parameters = 2 + lstmGates;

class BlockLstm {
  private readonly units: LstmUnit[];
  private readonly condition = newCondition();
  private readonly multipliers = new Float64Array(lstmGates);
  private readonly spectrum: SpectrumTracker;
  /** sup of ∂c′/∂c over all units: λ cannot be smaller. */
  readonly smallestLambda: number;

  constructor(cell: LstmCell, ranges: LstmRanges) {
    this.units = lstmUnits(cell, ranges);
    this.smallestLambda = this.units.reduce((m, u) => Math.max(m, u.forgetting), 0);
    const scale = () => new Float64Array(cell.hiddenSize);
    const matrices = [
      cell.coupled ? null : cell.forget.recurrent,
      ...[cell.input, cell.candidate, cell.output].map((g) => g.recurrent),
    ];
    this.spectrum = new SpectrumTracker({ b: scale(), terms: matrices.map((matrix) => ({ matrix, a: scale() })) });
  }

  start(): Float64Array {
    // The cell state a little above the least weight that it needs, everything else alike.
    return Float64Array.from({ length: this.units.length * parameters }, (_, i) => (i % parameters === 1 ? -1 : 0));
  }

  /** What p_c must exceed for (1) to hold at all: α²F² / (λ² − F²), the limit of infinite multipliers. */
  private floor({ alpha, forgetting }: LstmUnit, lambda: number): number {
    return ((alpha * forgetting) ** 2 / (lambda * lambda - forgetting * forgetting)) * (1 + 1e-9);
  }

  private cellWeight(point: Float64Array, j: number, lambda: number): number {
    return this.floor(this.units[j]!, lambda) + Math.exp(point[j * parameters + 1]!);
  }

  private evaluate(point: Float64Array, j: number, lambda: number, shift = 0): void {
    const { multipliers } = this;
    for (let k = 0; k < lstmGates; k++) multipliers[k] = Math.exp(point[j * parameters + 2 + k]! + shift);
    evaluateLstmCondition(this.units[j]!, this.cellWeight(point, j, lambda), lambda, multipliers, this.condition);
  }

  /** Makes (1) hold at λ by moving the point, and sets the matrix of (2). */
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
  slope(point: Float64Array, lambda: number): { sigma: number; gradient: Float64Array; stiffness: number } | null {
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
      const u = this.units[j]!;
      const floorFall = (this.floor(u, lambda) * lambda * lambda) / (lambda * lambda - u.forgetting ** 2);
      stiffness += (energy * (lambdaFall + cellSlope * floorFall)) / total;
    }
    return { sigma: Math.sqrt(value), gradient, stiffness: Math.max(0, stiffness) };
  }

  /** The λ, close from above, that equals σ(λ) for these scales: σ falls as λ grows, because N_c = λ² p_c grows. */
  fixpoint(point: Float64Array, start: number): number {
    let [low, high, lambda] = [this.smallestLambda, Infinity, start];
    for (let i = 0; i < 30 && lambda < 16; i++) {
      const sigma = this.meetConditions(Float64Array.from(point), lambda) ? Math.sqrt(this.spectrum.largest()) : Infinity;
      if (sigma > lambda) low = lambda;
      else high = lambda;
      if (high < low * (1 + 1e-4)) return high;
      const next = Math.sqrt(Math.min(sigma, 4 * lambda) * lambda) * (1 + 2e-5);
      lambda = next > low && next < high ? next : high === Infinity ? low * 1.5 : (low + high) / 2;
    }
    return high;
  }

  /** A proven λ for these scales, with the scales of the norm that it holds in: h before c. */
  *prove(point: Float64Array, lambda: number): Generator<number, { lambda: number; scale: Float64Array } | null> {
    if (!this.meetConditions(point, lambda)) return null;
    const { gram } = this.spectrum;
    const sigma = up(Math.sqrt(yield* largestEigenvalueBound(gram, this.spectrum.largest())));
    const n = this.units.length;
    const scale = new Float64Array(2 * n);
    for (let j = 0; j < n; j++) {
      scale[j] = gram.b[j]!;
      scale[n + j] = gram.b[j]! / Math.sqrt(this.cellWeight(point, j, lambda));
    }
    // Forming the scales and the matrix of (2) from logarithms rounds a few times.
    return { lambda: up(Math.max(lambda, sigma), 256), scale };
  }
}

const name = 'block-quadratic';
const norm = 'scaled Euclidean norm of (h, c)';

/** @yields the fraction done */
export function* blockLstm(cell: LstmCell, ranges: LstmRanges): Generator<number, CellCertificate> {
  const problem = new BlockLstm(cell, ranges);
  // Nothing contracts a cell state whose forget gate can be one.
  const { smallestLambda } = problem;
  if (!(smallestLambda < 1) || !ranges.cellSize.every(Number.isFinite)) return contractionCertificate(name, norm, Infinity, null);
  let lambda = Math.max(0.9, Math.sqrt(smallestLambda));
  const run = descend(problem.start(), lstmGates * cell.hiddenSize ** 2, (point) => {
    const slope = problem.slope(point, lambda);
    if (!slope) return { value: Infinity, gradient: new Float64Array(point.length) };
    const { sigma, gradient, stiffness } = slope;
    // The scales certify the larger of both; a Newton step leads to the λ where they are equal.
    const value = Math.log(Math.max(sigma, lambda));
    lambda = Math.max(lambda * (sigma / lambda) ** (1 / (1 + stiffness)), smallestLambda * (1 + 1e-6) + 1e-9);
    return { value, gradient };
  });
  let next = run.next();
  while (!next.done) {
    yield 0.5 * next.value;
    next = run.next();
  }
  const wanted = problem.fixpoint(next.value, lambda);
  if (!(wanted < 1)) return contractionCertificate(name, norm, wanted, null);
  const proven = yield* problem.prove(next.value, wanted);
  return contractionCertificate(name, norm, proven?.lambda ?? Infinity, proven && scaledEuclideanNorm(proven.scale));
}
