import type { RnnCell } from '../../network/cell.js';
import type { RnnRanges } from '../rnn.js';
import { up } from '../rounding.js';
import { largestEigenvalueBound } from '../algebra/weightedGram.js';
import { contractionCertificate, scaledEuclideanNorm, type CellCertificate } from './certificate.js';
import { bestStart, descend } from './descent.js';
import { SpectrumTracker } from './topSpectrum.js';

const name = 'scaled-spectral-norm';
const norm = 'scaled Euclidean norm of h';

/**
 * Vanilla RNN whose slopes lie in [−L_j, L_j]: λ = ‖D L R D⁻¹‖₂ for any positive diagonal D. log λ is convex in log D (Sezginer & Overton, "The
 * largest singular value of e^X A₀ e^−X is convex on convex sets of commuting matrices", IEEE TAC 1990), so descent finds the best.
 * @param weights of the comparison operator's best max-norm
 * @yields the fraction done
 */
export function* scaledNorm(cell: RnnCell, { slope }: RnnRanges, weights: Float64Array): Generator<number, CellCertificate> {
  if (!slope.every(Number.isFinite)) return contractionCertificate(name, norm, Infinity, null);
  const n = cell.hiddenSize;
  const tracker = new SpectrumTracker({
    b: new Float64Array(n),
    terms: [{ matrix: cell.gate.recurrent, a: new Float64Array(n) }],
  });
  const { b, terms } = tracker.gram;
  const { a } = terms[0]!;
  /** @param logs log D */
  const scaleBy = (logs: Float64Array) => {
    for (let j = 0; j < n; j++) {
      b[j] = Math.exp(-logs[j]!);
      a[j] = slope[j]! / b[j]!;
    }
  };
  const spectrumAt = (logs: Float64Array) => {
    scaleBy(logs);
    return tracker.spectrum();
  };
  const start = bestStart(weights, (logs) => spectrumAt(logs).value);
  const run = descend(start, n * n, (logs) => {
    const { value, rowShares, columnShares } = spectrumAt(logs);
    return { value, gradient: rowShares[0]!.map((v, j) => v - columnShares[j]!) };
  });
  let next = run.next();
  while (!next.done) {
    yield 0.5 * next.value;
    next = run.next();
  }
  scaleBy(next.value);
  const estimate = tracker.largest(60);
  if (!(estimate < 1)) return contractionCertificate(name, norm, Math.sqrt(estimate), null);
  const lambda = up(Math.sqrt(yield* largestEigenvalueBound(tracker.gram, estimate)));
  return contractionCertificate(name, norm, lambda, scaledEuclideanNorm(b.slice()));
}
