import { sigmoid } from '../../network/activation.js';
import type { LstmCell, RnnCell } from '../../network/cell.js';
import { rowSumNorm } from '../../network/matrix.js';
import { activationRange, magnitude, type Box } from '../interval.js';
import { up } from '../rounding.js';
import { spectralNormBound, spectralNormEstimate } from '../spectralNorm.js';
import { condition, scaledEuclideanNorm, type CellCertificate } from './certificate.js';

/** The conditions of Miller & Hardt, "Stable Recurrent Models" (arXiv:1805.10369), as the paper states them. */

const name = 'miller-hardt';

/** Section 2.2: h′ = ρ(W h + U x + b) contracts in the Euclidean norm by λ = L_ρ‖W‖₂. */
export function* millerHardtRnn(cell: RnnCell): Generator<number, CellCertificate> {
  const [low, high] = activationRange(cell.gate.activation, -Infinity, Infinity).slope;
  const lipschitz = Math.max(Math.abs(low), Math.abs(high));
  const estimate = spectralNormEstimate(cell.gate.recurrent);
  // Only a norm that may be small enough is worth a proof.
  const norm = lipschitz * estimate < 1 ? yield* spectralNormBound(cell.gate.recurrent, estimate) : estimate;
  const lambda = up(lipschitz * norm);
  const holds = lambda < 1;
  return {
    report: {
      name,
      norm: 'Euclidean',
      lambda: Number.isFinite(lambda) ? lambda : null,
      holds,
      conditions: [condition('‖W‖₂ < 1 / L_ρ', norm, 1 / lipschitz)],
    },
    contraction: holds ? { lambda, metric: scaledEuclideanNorm(new Float64Array(cell.hiddenSize).fill(1)) } : null,
  };
}

/** True for the LSTM of the published conditions: logistic gates, tanh elsewhere, no peepholes, no coupled gates. */
export function isPlainLstm(cell: LstmCell): boolean {
  const logistic = [cell.input, cell.output, cell.forget].every((gate) => gate.activation.name === 'Sigmoid');
  const tanh = cell.candidate.activation.name === 'Tanh' && cell.outputActivation.name === 'Tanh';
  return logistic && tanh && !cell.peephole && !cell.coupled;
}

/**
 * Proposition 2: with f∞ = σ(‖W_f‖∞ + B_x‖U_f‖∞ + ‖b_f‖∞), an LSTM is stable for its r-step map, r = O(log d), when
 * ‖W_i‖∞, ‖W_o‖∞ < 1 − f∞, ‖W_z‖∞ ≤ ¼(1 − f∞) and ‖W_f‖∞ < (1 − f∞)². It gives no λ for one step.
 * Null where the cell is not the paper's.
 */
export function millerHardtLstm(cell: LstmCell, input: Box): CellCertificate | null {
  if (!isPlainLstm(cell)) return null;
  const n = cell.hiddenSize;
  const norm = (gate: LstmCell['input']) => up(rowSumNorm(gate.recurrent), n);
  const largestInput = magnitude(input).reduce((a, b) => Math.max(a, b), 0);
  const bias = cell.forget.bias.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  const forget = up(sigmoid(up(norm(cell.forget) + up(largestInput * up(rowSumNorm(cell.forget.input), cell.inputSize)) + bias)));
  // A lower bound of 1 − f∞: the right-hand sides must not be too large.
  const rest = Math.max(0, (1 - forget) * (1 - 2 ** -50));
  const conditions = [
    condition('‖W_i‖∞ < 1 − f∞', norm(cell.input), rest),
    condition('‖W_o‖∞ < 1 − f∞', norm(cell.output), rest),
    condition('‖W_z‖∞ ≤ ¼(1 − f∞)', norm(cell.candidate), rest / 4),
    condition('‖W_f‖∞ < (1 − f∞)²', norm(cell.forget), rest * rest * (1 - 2 ** -50)),
  ];
  return {
    report: { name, norm: 'max-norm of the r-step map', lambda: null, holds: conditions.every((c) => c.holds), conditions },
    contraction: null,
  };
}
