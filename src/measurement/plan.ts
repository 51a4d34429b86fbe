import { DataType } from '../checkpoint/onnx/tensor.js';
import { multiplications } from '../network/cell.js';
import type { RecurrentNetwork } from '../network/network.js';
import type { InferenceRuntime } from '../runtime/inference.js';
import { batchedRunner } from './batchedRunner.js';
import { cellRunner } from './cellRunner.js';
import { stepsOf, type SourceSequence } from './sequences.js';
import type { WindowRunner } from './windowRuns.js';

/** How much a measurement may cost, in multiplications: a few seconds each. A step costs some more for what is around its products. */
const budgets = { cells: 5e8, double: 4e9, float: 4e10 } as const;
const overheadPerStep = 2000;
/** More windows than this show nothing new. */
const enoughWindows = 3000;
/** Errors that are compared with a smaller ε than this need float64. */
const finestFloat = 1e-4;

export interface MeasurementPlan {
  readonly runner: WindowRunner;
  /** Windows to run, all sequences together. */
  readonly windows: number;
}

/** The cell equations where little is to be run, else ONNX Runtime in batches, in float32 where float64 would take too long. */
export async function planMeasurement(
  network: RecurrentNetwork,
  sequences: readonly SourceSequence[],
  maxLength: number,
  epsilon: number,
  runtime: InferenceRuntime,
): Promise<MeasurementPlan> {
  const perStep = network.layers
    .flatMap((layer) => layer.directions)
    .reduce((sum, { cell }) => sum + multiplications(cell) + overheadPerStep, 0);
  const starts = sequences.reduce((sum, s) => sum + Math.max(1, stepsOf(s) - 1), 0);
  const length = Math.max(1, Math.min(maxLength, Math.max(...sequences.map(stepsOf)) - 1));
  const wanted = Math.max(sequences.length, Math.min(enoughWindows, starts));
  const affordable = (budget: number) => Math.max(sequences.length, Math.min(wanted, Math.floor(budget / (perStep * length))));
  if (wanted * length * perStep <= budgets.cells) return { runner: cellRunner(network), windows: wanted };
  const isDouble = epsilon < finestFloat || wanted * length * perStep <= budgets.double;
  const type = isDouble ? DataType.DOUBLE : DataType.FLOAT;
  try {
    return {
      runner: await batchedRunner(network, type, runtime),
      windows: affordable(isDouble ? budgets.double : budgets.float),
    };
  } catch {
    // An activation that ONNX Runtime lacks in this type.
    return { runner: cellRunner(network), windows: affordable(budgets.cells * 4) };
  }
}
