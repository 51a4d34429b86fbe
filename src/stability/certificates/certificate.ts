import type { Matrix } from '../../network/matrix.js';
import type { Certificate } from '../../report/report.js';
import { up } from '../rounding.js';

/** A norm of the state in which one step contracts, as far as the error curve needs to know it. */
export interface Metric {
  /** The norm of a difference of two states, not rounded outward. */
  norm(difference: Float64Array): number;
  /** An upper bound of the norm of every vector d with |d_j| ≤ bound_j. */
  sizeOf(bound: Float64Array): number;
  /** ‖d‖² ≤ Σ_j squares_j d_j²; absent for norms that are no sum of squares. */
  readonly squares?: Float64Array;
  /** |d_j| ≤ reach_j · ‖d‖ for every d. */
  readonly reach: Float64Array;
  /** For each row of a matrix M [rows, H]: |(M d_h)_r| ≤ rowNorms_r · ‖d‖ for every d, d_h its first H entries. */
  rowNorms(matrix: Matrix): Float64Array;
}

/** Proven: ‖Φ(s, x) − Φ(s′, x)‖ ≤ λ‖s − s′‖ in this metric, λ < 1. */
export interface Contraction {
  readonly lambda: number;
  readonly metric: Metric;
}

/**
 * One member of the family: a claim that one step of a cell contracts by λ in some norm, for all inputs and states of
 * the box it was made for. It is proven where `report.holds`; λ of a certificate that does not hold is information.
 */
export interface CellCertificate {
  readonly report: Pick<Certificate, 'name' | 'norm' | 'lambda' | 'holds' | 'conditions' | 'note'>;
  /** Null where it does not hold, or where the source claims less than a contraction of one step. */
  readonly contraction: Contraction | null;
}

/** Σ_c |M_rc| weights_c, outward rounded. */
export function rowSums({ rows, cols, data }: Matrix, weights: Float64Array): Float64Array {
  return Float64Array.from({ length: rows }, (_, r) => {
    let sum = 0;
    for (let c = 0; c < cols; c++) sum += Math.abs(data[r * cols + c]!) * weights[c]!;
    return up(sum, cols);
  });
}

/** √(Σ_c (M_rc scale_c)²), outward rounded. */
export function rowLengths({ rows, cols, data }: Matrix, scale: Float64Array): Float64Array {
  return Float64Array.from({ length: rows }, (_, r) => {
    let sum = 0;
    for (let c = 0; c < cols; c++) sum += (data[r * cols + c]! * scale[c]!) ** 2;
    return up(Math.sqrt(sum), cols);
  });
}

/** max_j |d_j| / weights_j */
export function weightedMaxNorm(weights: Float64Array): Metric {
  return {
    norm: (d) => d.reduce((m, v, j) => Math.max(m, Math.abs(v) / weights[j]!), 0),
    reach: weights,
    rowNorms: (matrix) => rowSums(matrix, weights),
    sizeOf: (bound) => up(bound.reduce((m, v, j) => Math.max(m, v / weights[j]!), 0)),
  };
}

/** √(Σ_j (d_j / scale_j)²), the quadratic metric P = diag(scale)⁻². */
export function scaledEuclideanNorm(scale: Float64Array): Metric {
  const norm = (d: Float64Array) => Math.sqrt(d.reduce((sum, v, j) => sum + (v / scale[j]!) ** 2, 0));
  return {
    norm,
    squares: scale.map((s) => up(1 / (s * s), 4)),
    reach: scale,
    rowNorms: (matrix) => rowLengths(matrix, scale),
    sizeOf: (bound) => up(norm(bound), bound.length),
  };
}

/** The certificate of a metric that was found, or was not: λ is null where no finite bound exists. */
export function contractionCertificate(name: string, norm: string, lambda: number, metric: Metric | null): CellCertificate {
  const holds = lambda < 1 && metric !== null;
  return {
    report: { name, norm, lambda: Number.isFinite(lambda) ? lambda : null, holds },
    contraction: holds ? { lambda, metric } : null,
  };
}

/** A condition as its source states it. */
export function condition(text: string, value: number, limit: number) {
  return { text, value, limit, holds: value < limit };
}
