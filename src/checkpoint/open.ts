import { BadInputError } from '../errors.js';
import type { CheckpointFiles } from '../jobs/jobs.js';
import { readModel } from './onnx/model.js';
import { externalLocations, readCheckpoint, withDataInside, type OnnxCheckpoint } from './onnx/reader.js';
import { applySettings } from './onnx/settings.js';
import { withInputShapes } from './onnx/staticShapes.js';
import type { InferenceRuntime } from '../runtime/inference.js';
import { decided, readStreamingModel, type StreamingModel, type StreamingSettings } from '../streaming/streamingModel.js';

/** A checkpoint with the size of its file. */
export interface OpenedCheckpoint {
  readonly onnx: OnnxCheckpoint;
  readonly bytes: number;
  /** null for a model that takes whole sequences. */
  readonly streaming: StreamingModel | null;
}

/** Reads a checkpoint and the external data that it names. */
export async function openCheckpoint(
  files: CheckpointFiles,
  settings: StreamingSettings,
  runtime: InferenceRuntime,
): Promise<OpenedCheckpoint> {
  const bytes = await files.read();
  const external = new Map<string, Uint8Array>();
  const model = readModel(bytes);
  for (const location of externalLocations(model)) {
    const data = await files.readSibling(location);
    if (!data) throw new BadInputError('missing-external-data', `its external data file "${location}" is missing beside it`);
    external.set(location, data);
  }
  const inline = withDataInside(model, external);
  const streaming = await readStreamingModel(inline, settings, external, runtime);
  if (streaming) return { onnx: readCheckpoint(streaming.model, external, 'optional'), bytes: bytes.length, streaming };
  const shapes = applySettings(inline.graph, decided(inline, settings.set).settings);
  return { onnx: readCheckpoint(withInputShapes(inline, shapes), external), bytes: bytes.length, streaming };
}
