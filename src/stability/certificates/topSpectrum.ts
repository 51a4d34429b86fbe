import { addScaled, largestEigenpairs, norm, startVector } from '../algebra/lanczos.js';
import { applyGram, type WeightedGram } from '../algebra/weightedGram.js';

/**
 * The upper end of the spectrum of a weighted Gram matrix while its scales are moved. At an optimum several eigenvalues coincide, so the gradient
 * is taken of a softened maximum: the average over the largest few, weighted by how near they are to the largest.
 */
export interface TopSpectrum {
  /** Estimate of the largest eigenvalue. */
  readonly value: number;
  /** ∂ log value / ∂ log a², for each term and row; all together they sum to one. */
  readonly rowShares: readonly Float64Array[];
  /** ∂ log value / ∂ log b², for each column; sums to one. */
  readonly columnShares: Float64Array;
}

const softness = 0.01;

/** Dimensions of the Krylov space and the eigenpairs used: more where products are cheap. */
const effort = (n: number) => (n <= 256 ? { steps: 24, pairs: 12 } : n <= 512 ? { steps: 10, pairs: 4 } : { steps: 6, pairs: 2 });

export class SpectrumTracker {
  private start: Float64Array;

  constructor(readonly gram: WeightedGram) {
    this.start = startVector(gram.b.length);
  }

  private pairs(steps: number, count: number) {
    const pairs = largestEigenpairs((v) => applyGram(this.gram, v).product, this.start, steps, count);
    // The next search starts from all of them, for any may be the largest after a move.
    const mix = new Float64Array(this.start.length);
    for (const { vector } of pairs) addScaled(mix, 1, vector);
    const size = norm(mix);
    this.start = mix.map((v) => v / size);
    return pairs;
  }

  /** An estimate of the largest eigenvalue, from below. */
  largest(steps = this.start.length <= 512 ? 20 : 12): number {
    return this.pairs(steps, 2)[0]!.value;
  }

  spectrum(): TopSpectrum {
    const { steps, pairs: count } = effort(this.start.length);
    const pairs = this.pairs(steps, count);
    const { value } = pairs[0]!;
    const weights = pairs.map((p) => Math.exp((p.value / value - 1) / softness));
    const total = weights.reduce((a, b) => a + b, 0);
    const columnShares = new Float64Array(this.start.length);
    const rowShares = this.gram.terms.map((t) => new Float64Array(t.a.length));
    for (const [i, { value: eigenvalue, vector }] of pairs.entries()) {
      const weight = weights[i]! / total;
      if (weight < 1e-3 || !(eigenvalue > 0)) continue;
      for (let j = 0; j < vector.length; j++) columnShares[j] = columnShares[j]! + weight * vector[j]! ** 2;
      for (const [k, row] of applyGram(this.gram, vector).rows.entries()) {
        const share = rowShares[k]!;
        for (let j = 0; j < row.length; j++) share[j] = share[j]! + (weight * row[j]! ** 2) / eigenvalue;
      }
    }
    return { value, rowShares, columnShares };
  }
}
