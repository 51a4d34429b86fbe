import { BadInputError } from '../errors.js';
import type { CheckpointFiles } from '../jobs/jobs.js';
import type { InferenceRuntime } from '../runtime/inference.js';
import { decided, readStreamingModel, type StreamingModel, type StreamingSettings } from '../streaming/streamingModel.js';
import { looksLikeJson } from './contents.js';
import { readModel } from './onnx/model.js';
import { externalLocations, readCheckpoint, withDataInside, type OnnxCheckpoint } from './onnx/reader.js';
import { applySettings } from './onnx/settings.js';
import { withInputShapes } from './onnx/staticShapes.js';
import type { NodeOrigin } from './tfjs/layer.js';
import { readTfjs } from './tfjs/reader.js';

/** A checkpoint with the size of its files. */
export interface OpenedCheckpoint {
  readonly format: 'onnx' | 'tfjs';
  /** The checkpoint itself, or what a TF.js model was converted to. */
  readonly onnx: OnnxCheckpoint;
  readonly bytes: number;
  /** null for a model that takes whole sequences. */
  readonly streaming: StreamingModel | null;
  /** What the recurrent nodes of a converted TF.js model were made from, by name; empty for ONNX. */
  readonly origins: ReadonlyMap<string, NodeOrigin>;
  /** Inputs and outputs of a converted model that the original does not have: carried states of stateful layers. */
  readonly states: ReadonlySet<string>;
}

/** Reads a checkpoint and the files that it names. Its content says what it is; a name is trusted only where content says nothing. */
export async function openCheckpoint(
  files: CheckpointFiles,
  settings: StreamingSettings,
  runtime: InferenceRuntime,
): Promise<OpenedCheckpoint> {
  const bytes = await files.read();
  if (looksLikeJson(bytes) || /\.json$/i.test(files.name)) return openTfjs(bytes, files);
  return openOnnx(bytes, files, settings, runtime);
}

async function openOnnx(
  bytes: Uint8Array,
  files: CheckpointFiles,
  settings: StreamingSettings,
  runtime: InferenceRuntime,
): Promise<OpenedCheckpoint> {
  const external = new Map<string, Uint8Array>();
  const model = readModel(bytes);
  for (const location of externalLocations(model)) {
    const data = await files.readSibling(location);
    if (!data) throw new BadInputError('missing-external-data', `its external data file "${location}" is missing beside it`);
    external.set(location, data);
  }
  const inline = withDataInside(model, external);
  const streaming = await readStreamingModel(inline, settings, external, runtime);
  const native = { format: 'onnx', bytes: bytes.length, streaming, origins: new Map(), states: new Set<string>() } as const;
  if (streaming) return { ...native, onnx: readCheckpoint(streaming.model, external, 'optional') };
  const shapes = applySettings(inline.graph, decided(inline, settings.set).settings);
  return { ...native, onnx: readCheckpoint(withInputShapes(inline, shapes), external) };
}

async function openTfjs(bytes: Uint8Array, files: CheckpointFiles): Promise<OpenedCheckpoint> {
  const { model, origins, states, bytes: total } = await readTfjs(bytes, (path) => files.readSibling(path));
  return { format: 'tfjs', onnx: readCheckpoint(model, new Map()), bytes: total, streaming: null, origins, states };
}
