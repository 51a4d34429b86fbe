import { BadInputError } from '../errors.js';
import type { CheckpointFiles } from '../jobs/jobs.js';
import { readModel } from './onnx/model.js';
import { externalLocations, readCheckpoint, type OnnxCheckpoint } from './onnx/reader.js';

/** A checkpoint with the size of its file. */
export interface OpenedCheckpoint {
  readonly onnx: OnnxCheckpoint;
  readonly bytes: number;
}

/** Reads a checkpoint and the external data that it names. */
export async function openCheckpoint(files: CheckpointFiles): Promise<OpenedCheckpoint> {
  const bytes = await files.read();
  const external = new Map<string, Uint8Array>();
  const model = readModel(bytes);
  for (const location of externalLocations(model)) {
    const data = await files.readSibling(location);
    if (!data) throw new BadInputError('missing-external-data', `its external data file "${location}" is missing beside it`);
    external.set(location, data);
  }
  return { onnx: readCheckpoint(model, external), bytes: bytes.length };
}
