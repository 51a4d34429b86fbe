import { sigmoid } from '../../network/activation.js';
import type { Gate, GruCell, LstmCell } from '../../network/cell.js';
import type { Matrix } from '../../network/matrix.js';
import { magnitude, type Box } from '../interval.js';
import { up } from '../rounding.js';
import { spectralNormBound, spectralNormEstimate } from '../spectralNorm.js';
import { condition, rowLengths, scaledEuclideanNorm, weightedMaxNorm, type CellCertificate, type Metric } from './certificate.js';
import { isPlainLstm } from './millerHardt.js';

/** Published conditions for incremental input-to-state stability (δISS), as baselines. W input weights, U recurrent weights. */

const name = 'delta-iss';

/** Hidden size up to which norms are always proven. */
const alwaysProven = 512;
const unproven = 'estimated only: another certificate is proven with a smaller λ';

/** ‖[W·B_x, U·B_h, b]‖∞ with the largest inputs in place of the papers' unit inputs: bounds every pre-activation. */
function largestPreActivation(gate: Gate, input: Float64Array, extraBias?: Float64Array): number {
  const { rows, cols } = gate.input;
  let largest = 0;
  for (let r = 0; r < rows; r++) {
    let sum = Math.abs(gate.bias[r]!) + Math.abs(extraBias?.[r] ?? 0);
    for (let c = 0; c < cols; c++) sum += Math.abs(gate.input.data[r * cols + c]!) * input[c]!;
    for (let c = 0; c < rows; c++) sum += Math.abs(gate.recurrent.data[r * rows + c]!);
    largest = Math.max(largest, sum);
  }
  return up(largest, rows + cols);
}

const largestRowSum = ({ rows, cols, data }: Matrix): number => {
  let largest = 0;
  for (let r = 0; r < rows; r++) {
    let sum = 0;
    for (let c = 0; c < cols; c++) sum += Math.abs(data[r * cols + c]!);
    largest = Math.max(largest, sum);
  }
  return up(largest, cols);
};

/** Largest ratio (A u)_i / u_i of a non-negative 2×2 matrix at its Perron vector: its spectral radius, from above. */
function perron2(a: readonly [number, number, number, number]): { radius: number; vector: [number, number] } {
  const [p, q, r, s] = a;
  const root = (p + s + Math.sqrt((p - s) ** 2 + 4 * q * r)) / 2;
  // (A − ρI)u = 0; either row gives u, the one without cancellation is taken.
  const vector: [number, number] = q > 0 && r > 0 ? (p > s ? [root - s, r] : [q, root - p]) : [1, 1];
  const radius = Math.max((p * vector[0] + q * vector[1]) / vector[0], (r * vector[0] + s * vector[1]) / vector[1]);
  return { radius: up(radius), vector };
}

/** max(‖h‖₂/u_h, ‖c‖₂/u_c) of the state (h, c). */
function pairNorm(n: number, hidden: number, cell: number): Metric {
  const euclidean = scaledEuclideanNorm(new Float64Array(n).fill(1));
  const reach = new Float64Array(2 * n).fill(hidden).fill(cell, n);
  const norm = (d: Float64Array) => Math.max(euclidean.norm(d.subarray(0, n)) / hidden, euclidean.norm(d.subarray(n)) / cell);
  const ones = new Float64Array(n).fill(hidden);
  return { norm, reach, rowNorms: (matrix) => rowLengths(matrix, ones), sizeOf: (bound) => up(norm(bound), n) };
}

/**
 * Terzi, Bonassi, Farina, Scattolini, "Learning model predictive control with long short-term memory networks" (arXiv:1910.04024), Theorem 2:
 * ‖Δc′‖₂ ≤ σ̄_f‖Δc‖₂ + α‖Δh‖₂ and ‖Δh′‖₂ ≤ σ̄_oσ̄_f‖Δc‖₂ + (ασ̄_o + ¼φ̄_x‖U_o‖)‖Δh‖₂; the map contracts when this matrix does.
 * Null where the cell is not the paper's.
 * @param initial box of the initial states, which must lie in the invariant set |h| ≤ 1, |c| ≤ σ̄_iφ̄_c/(1−σ̄_f)
 * @param wanted proofs take d³ operations each, so a large layer's norms are proven only where they promise a smaller λ than this
 */
export function* deltaIssLstm(
  cell: LstmCell,
  input: Box,
  initial: Box,
  wanted = Infinity,
): Generator<number, CellCertificate | null> {
  if (!isPlainLstm(cell)) return null;
  const n = cell.hiddenSize;
  const inputs = magnitude(input);
  const gate = (g: Gate) => up(sigmoid(largestPreActivation(g, inputs)));
  const [i, f, o] = [gate(cell.input), gate(cell.forget), gate(cell.output)];
  const candidate = up(Math.tanh(largestPreActivation(cell.candidate, inputs)));
  const rest = (1 - f) * (1 - 2 ** -50);
  const largestCell = rest > 0 ? up((i * candidate) / rest) : Infinity;
  const squashed = up(Math.tanh(largestCell));
  const start = magnitude(initial);
  const inside = start.every((v, j) => v <= (j < n ? 1 : largestCell));
  const matrices = [cell.forget, cell.candidate, cell.input, cell.output].map((g) => g.recurrent);
  const norms = matrices.map(spectralNormEstimate);
  const map = ([uf, uc, ui, uo]: readonly number[]): [number, number, number, number] => {
    const alpha = up(0.25 * uf! * largestCell + i * uc! + 0.25 * ui! * candidate, 16);
    return [f, alpha, up(o * f), up(alpha * o + 0.25 * squashed * uo!, 16)];
  };
  // Only norms that may be small enough are worth a proof.
  const promised = perron2(map(norms)).radius;
  const worth = inside && promised < 1 && (n <= alwaysProven || promised < wanted);
  if (worth) for (const [k, m] of matrices.entries()) norms[k] = yield* spectralNormBound(m, norms[k]);
  const { radius, vector } = perron2(map(norms));
  const holds = worth && radius < 1;
  return {
    report: {
      name,
      norm: 'larger of the scaled Euclidean norms of h and c',
      lambda: Number.isFinite(radius) ? radius : null,
      holds,
      conditions: [condition('ρ(A) < 1', Number.isFinite(radius) ? radius : Number.MAX_VALUE, 1)],
      ...(inside && promised < 1 && !worth ? { note: unproven } : {}),
    },
    contraction: holds ? { lambda: radius, metric: pairNorm(n, vector[1], vector[0]) } : null,
  };
}

/**
 * Bonassi, Farina, Scattolini, "On the stability properties of Gated Recurrent Units neural networks" (arXiv:2011.06806), Theorem 2, for the reset gate
 * before the product (linear_before_reset = 0): ‖U_r‖∞(¼‖U_f‖∞ + σ̄_f) + ¼(1 + φ̄_r)/(1 − σ̄_z)‖U_z‖∞ < 1, f the reset gate and r the candidate.
 * The left side κ gives the one-step constant σ̄_z + (1 − σ̄_z)κ in the max-norm. Null where the cell is not the paper's.
 */
export function deltaIssGru(cell: GruCell, input: Box, initial: Box): CellCertificate | null {
  const logistic = cell.update.activation.name === 'Sigmoid' && cell.reset.activation.name === 'Sigmoid';
  if (cell.linearBeforeReset || !logistic || cell.candidate.activation.name !== 'Tanh') return null;
  const inputs = magnitude(input);
  const z = up(sigmoid(largestPreActivation(cell.update, inputs)));
  const f = up(sigmoid(largestPreActivation(cell.reset, inputs)));
  const r = up(Math.tanh(largestPreActivation(cell.candidate, inputs)));
  const [uz, uf, ur] = [cell.update, cell.reset, cell.candidate].map((g) => largestRowSum(g.recurrent)) as [
    number,
    number,
    number,
  ];
  const rest = (1 - z) * (1 - 2 ** -50);
  const kappa = up(ur * (0.25 * uf + f) + (0.25 * (1 + r) * uz) / rest, 16);
  const inside = magnitude(initial).every((v) => v <= 1);
  const lambda = up(z + (1 - z) * kappa, 16);
  const holds = inside && kappa < 1 && lambda < 1;
  return {
    report: {
      name,
      norm: 'max-norm',
      lambda: Number.isFinite(lambda) ? lambda : null,
      holds,
      conditions: [condition('‖U_r‖(¼‖U_f‖ + σ̄_f) + ¼(1 + φ̄_r)/(1 − σ̄_z)‖U_z‖ < 1', Math.min(kappa, Number.MAX_VALUE), 1)],
    },
    contraction: holds ? { lambda, metric: weightedMaxNorm(new Float64Array(cell.hiddenSize).fill(1)) } : null,
  };
}
