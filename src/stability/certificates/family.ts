import type { Cell } from '../../network/cell.js';
import type { CellBounds } from '../cellBounds.js';
import type { Box } from '../interval.js';
import type { GruRanges } from '../gru.js';
import { pointBox } from '../interval.js';
import type { LstmRanges } from '../lstm.js';
import type { RnnRanges } from '../rnn.js';
import { BlockGru } from './blockGru.js';
import { BlockLstm } from './blockLstm.js';
import { blockCertificate } from './blockSearch.js';
import type { CellCertificate } from './certificate.js';
import { comparisonCertificate, comparisonNorm } from './comparison.js';
import { deltaIssGru, deltaIssLstm } from './deltaIss.js';
import { millerHardtLstm, millerHardtRnn } from './millerHardt.js';
import { numericalRadius } from './numericalRadius.js';
import { scaledNorm } from './scaledNorm.js';

/** The certificates of one direction, and the bounds that all of them hold for. */
export interface Certified {
  readonly bounds: CellBounds;
  readonly certificates: CellCertificate[];
}

/**
 * Every certificate that applies to one direction of a layer: published conditions as baselines, then ours. Where an invariant
 * ellipsoid is found on the way, everything is bounded anew inside it.
 * @param initial the state before the first step; `input` where the caller supplies any of the box
 * @yields now and then, so that the caller can report progress and stop
 */
export function* certificatesOf(
  cell: Cell,
  bounds: CellBounds,
  input: Box,
  initial: Float64Array | 'input',
): Generator<unknown, Certified> {
  const start = initial === 'input' ? bounds.state : pointBox(initial);
  switch (cell.kind) {
    case 'rnn': {
      const ranges = bounds.ranges as RnnRanges;
      const published = yield* millerHardtRnn(cell);
      const comparison = comparisonNorm(bounds);
      const norm = yield* scaledNorm(cell, ranges, comparison.weights);
      const radius = yield* numericalRadius(cell, ranges, comparison.weights);
      return { bounds, certificates: [published, comparisonCertificate(bounds, comparison), norm, ...(radius ? [radius] : [])] };
    }
    case 'lstm': {
      const block = yield* blockCertificate(cell, bounds, input, initial, (b) => new BlockLstm(cell, b.ranges as LstmRanges));
      const proven = block.certificate.contraction?.lambda;
      const published = [millerHardtLstm(cell, input), yield* deltaIssLstm(cell, input, start, proven)].filter((c) => c !== null);
      return { bounds: block.bounds, certificates: [...published, comparisonCertificate(block.bounds), block.certificate] };
    }
    case 'gru': {
      const published = [deltaIssGru(cell, input, start)].filter((c) => c !== null);
      const block = yield* blockCertificate(cell, bounds, input, initial, (b) => new BlockGru(cell, b.ranges as GruRanges));
      return { bounds: block.bounds, certificates: [...published, comparisonCertificate(block.bounds), block.certificate] };
    }
  }
}
