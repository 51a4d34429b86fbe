import type { Cell } from '../../network/cell.js';
import type { CellBounds } from '../cellBounds.js';
import type { Box } from '../interval.js';
import { blockGru } from './blockGru.js';
import { blockLstm } from './blockLstm.js';
import type { CellCertificate } from './certificate.js';
import { comparisonCertificate } from './comparison.js';
import { deltaIssGru, deltaIssLstm } from './deltaIss.js';
import { millerHardtLstm, millerHardtRnn } from './millerHardt.js';
import { numericalRadius } from './numericalRadius.js';
import { scaledNorm } from './scaledNorm.js';

/**
 * Every certificate that applies to one direction of a layer: published conditions as baselines, then ours.
 * @param initial box of the states before the first step
 * @yields now and then, so that the caller can report progress and stop
 */
export function* certificatesOf(cell: Cell, bounds: CellBounds, input: Box, initial: Box): Generator<void, CellCertificate[]> {
  const { ranges } = bounds;
  const found: (CellCertificate | null)[] = [];
  // Each cell's ranges are of its own kind; the pairs are narrowed together.
  if (cell.kind === 'rnn' && ranges.kind === 'rnn') {
    found.push(yield* silently(millerHardtRnn(cell)));
    found.push(comparisonCertificate(bounds));
    found.push(yield* silently(scaledNorm(cell, ranges)));
    found.push(yield* silently(numericalRadius(cell, ranges)));
  } else if (cell.kind === 'lstm' && ranges.kind === 'lstm') {
    found.push(millerHardtLstm(cell, input));
    found.push(yield* silently(deltaIssLstm(cell, input, initial)));
    found.push(comparisonCertificate(bounds));
    found.push(yield* silently(blockLstm(cell, ranges)));
  } else if (cell.kind === 'gru' && ranges.kind === 'gru') {
    found.push(deltaIssGru(cell, input, initial));
    found.push(comparisonCertificate(bounds));
    found.push(yield* silently(blockGru(cell, ranges)));
  }
  return found.filter((c) => c !== null);
}

/** The fractions of one certificate say nothing about the family's; only the pauses matter. */
function* silently<T>(run: Generator<number, T>): Generator<void, T> {
  for (;;) {
    const next = run.next();
    if (next.done) return next.value;
    yield;
  }
}
