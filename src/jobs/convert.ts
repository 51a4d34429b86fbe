import { BadInputError } from '../errors.js';
import { openCheckpoint } from '../checkpoint/open.js';
import { writeModel } from '../checkpoint/onnx/model.js';
import type { InferenceRuntime } from '../runtime/inference.js';
import type { ReferenceRuntime } from '../runtime/reference.js';
import { describeInMetadata } from '../truncation/window.js';
import type { CheckpointFiles, Progress } from './jobs.js';
import { verifyConversion, type ConversionVerification, type ConvertOptions } from './verifyConversion.js';

export interface ConvertResult {
  /** The ONNX model, already verified. */
  model: Uint8Array;
  nodes: number;
  verification: ConversionVerification;
}

/**
 * Converts a TF.js checkpoint to ONNX with real recurrent nodes.
 * @param reference TF.js; null where it is not at hand
 * @throws BadInputError when the checkpoint cannot be read or the converted model does not agree with it
 */
export async function convertCheckpoint(
  files: CheckpointFiles,
  options: ConvertOptions,
  runtime: InferenceRuntime,
  reference: ReferenceRuntime | null,
  progress: Progress,
): Promise<ConvertResult> {
  await progress('Reading the checkpoint', 0);
  const checkpoint = await openCheckpoint(files, { set: {}, states: {} }, runtime);
  if (checkpoint.format !== 'tfjs')
    throw new BadInputError('not-tfjs', 'this is an ONNX model already; only TF.js models are converted');
  await progress('Comparing with the original', 0.3);
  const verification = await verifyConversion(checkpoint, files, options, runtime, reference);
  const described = describeInMetadata(checkpoint.onnx.model, {
    source: files.name.split(/[\\/]/).pop() ?? files.name,
    verification: verification.summary,
  });
  await progress('Done', 1);
  return { model: writeModel(described), nodes: checkpoint.onnx.model.graph.node.length, verification };
}
