import { EigenvalueDecomposition, Matrix as DenseMatrix } from 'ml-matrix';
import type { Matrix } from '../../src/network/matrix.js';

/** Spectral radius of J_p … J_1 by a dense decomposition. @param factors J_1 first */
export function largestModulus(factors: readonly Matrix[]): number {
  const dense = ({ rows, cols, data }: Matrix) => DenseMatrix.from1DArray(rows, cols, [...data]);
  const product = factors.map(dense).reduce((p, j) => j.mmul(p));
  const { realEigenvalues, imaginaryEigenvalues } = new EigenvalueDecomposition(product, { assumeSymmetric: false });
  return Math.max(...realEigenvalues.map((re, i) => Math.hypot(re, imaginaryEigenvalues[i]!)));
}
