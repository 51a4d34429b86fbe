import type { RecurrentNetwork } from '../network/network.js';
import type { SourceSequence } from './sequences.js';

/** The steps [from, to) of a sequence, run from the initial state: forward layers start at `from`, reverse layers at the other end. */
export interface Window {
  readonly source: SourceSequence;
  readonly from: number;
  readonly to: number;
}

/** h of every layer in every window; what lies behind the end of a shorter window means nothing. */
export interface WindowRuns {
  /** Length of the longest window. */
  readonly steps: number;
  /** By layer, [window][step][unit], the units of both directions side by side. */
  readonly hidden: readonly Float64Array[];
}

/** Runs the recurrent layers of one network over batches of windows. */
export interface WindowRunner {
  /** Numbers that a batch may hold, so that memory stays bounded; windows × steps × units of all layers. */
  readonly largestBatch: number;
  run(windows: readonly Window[]): Promise<WindowRuns>;
  release(): Promise<void>;
}

/** Units of a layer's output: h of all directions. */
export function outputWidth({ hiddenSize, directions }: RecurrentNetwork['layers'][number]): number {
  return hiddenSize * directions.length;
}

export function longestOf(windows: readonly Window[]): number {
  return windows.reduce((longest, w) => Math.max(longest, w.to - w.from), 0);
}
