import { writeModel } from '../checkpoint/onnx/model.js';
import { timeAndBatch, type OnnxCheckpoint } from '../checkpoint/onnx/reader.js';
import type { Shape } from '../checkpoint/onnx/dims.js';
import type { Tensor } from '../checkpoint/onnx/tensor.js';
import { walkSignal, type Signal, type SourceSignal } from '../network/signal.js';
import { refusedBy, type InferenceRuntime } from '../runtime/inference.js';
import { withOutputs } from '../checkpoint/onnx/exposed.js';
import { runBatch, sliceBatch, wholeChunks, type InputAxes, type InputBatch } from '../samples/modelInputs.js';
import { badSamples } from '../samples/sampleArray.js';

/** What the recurrent layers read, for one sequence: by source name, one vector of features for every time step. */
export type SourceSequence = ReadonlyMap<string, readonly Float64Array[]>;

/** Steps of a sequence. */
export function stepsOf(source: SourceSequence): number {
  return Math.min(...[...source.values()].map((steps) => steps.length));
}

/**
 * The sources of the network for every sequence of a batch. Sources behind operators that are not understood are computed
 * by running the model itself in ONNX Runtime.
 * @param outputs further signals whose sources are needed
 * @returns null when layers run along different time axes, which one sequence cannot describe
 */
export async function sourceSequences(
  checkpoint: OnnxCheckpoint,
  axes: InputAxes,
  whole: InputBatch,
  runtime: InferenceRuntime,
  outputs: readonly Signal[] = [],
): Promise<SourceSequence[] | null> {
  const layerAxes = checkpoint.nodes.map((node) => timeAndBatch(node, checkpoint.shapes));
  const first = layerAxes[0];
  if (!first) return null;
  const key = (a: typeof first) => `${a.time.map((x) => x.id).join()}|${a.batch.map((x) => x.id).join()}`;
  if (layerAxes.some((a) => !a || key(a) !== key(first))) return null;

  const sources = new Map<string, SourceSignal | { name: string; operator: null; recurrent: false }>();
  for (const signal of [...checkpoint.network.layers.map((layer) => layer.input), ...outputs]) {
    walkSignal(signal, (s) => {
      if (s.kind === 'source') sources.set(s.name, s);
      if (s.kind === 'table') sources.set(s.source, { name: s.source, operator: null, recurrent: false });
    });
  }
  if ([...sources.values()].some((s) => s.recurrent)) return null;
  const timeIds = new Set(first.time.map((a) => a.id));
  const batchIds = new Set(first.batch.map((a) => a.id));
  const computed = [...sources.values()].filter((s) => s.operator !== null).map((s) => s.name);
  // A model of a fixed batch computes whole batches only; what is left over cannot be used.
  const batch = computed.length > 0 && axes.batch !== null ? inWholeBatches(axes, whole, axes.batch) : whole;
  const values = new Map(batch.feeds);
  if (computed.length > 0) {
    const unknown = (error: unknown) => refusedBy(error, `what the layers read (${computed.join(', ')}) cannot be computed`);
    const session = await runtime.load(writeModel(withOutputs(checkpoint.model, computed))).catch(unknown);
    try {
      const batchAxis = (name: string) => checkpoint.shapes.axisOf(name, batchIds);
      for (const [name, tensor] of await runBatch(session, axes, batch, batchAxis).catch(unknown)) values.set(name, tensor);
    } finally {
      await session.release();
    }
  }
  const sequences = Array.from({ length: batch.sequences }, () => new Map<string, Float64Array[]>());
  for (const name of sources.keys()) {
    const tensor = values.get(name);
    const shape = checkpoint.shapes.shape(name);
    if (!tensor || shape?.length !== tensor.dims.length) return null;
    split(tensor, shape, timeIds, batchIds, batch).forEach((steps, n) => sequences[n]!.set(name, steps));
  }
  return sequences;
}

/** @throws BadInputError bad-samples when there are not enough sequences for one batch */
function inWholeBatches(axes: InputAxes, batch: InputBatch, size: number): InputBatch {
  if (batch.sequences < size)
    throw badSamples(`the model takes batches of ${size} sequences, and there are ${batch.sequences}; give at least ${size}`);
  return sliceBatch(axes, batch, 0, wholeChunks(axes, batch.sequences));
}

/** Cuts a tensor into [sequence][step] → features in row-major order. */
function split(
  tensor: Tensor,
  shape: Shape,
  timeIds: ReadonlySet<number>,
  batchIds: ReadonlySet<number>,
  batch: InputBatch,
): Float64Array[][] {
  const has = (axis: number, of: ReadonlySet<number>) => shape[axis]!.some((atom) => of.has(atom.id));
  const features = tensor.dims.reduce((size, d, axis) => (has(axis, timeIds) || has(axis, batchIds) ? size : size * d), 1);
  const out = Array.from({ length: batch.sequences }, () =>
    Array.from({ length: batch.steps }, () => new Float64Array(features)),
  );
  const filled = new Int32Array(batch.sequences * batch.steps);
  const at = tensor.dims.map(() => 0);
  for (const value of tensor.data) {
    let t = 0;
    let n = 0;
    for (let axis = 0; axis < at.length; axis++) {
      if (has(axis, timeIds)) t = t * tensor.dims[axis]! + at[axis]!;
      else if (has(axis, batchIds)) n = n * tensor.dims[axis]! + at[axis]!;
    }
    const slot = n * batch.steps + t;
    out[n]![t]![filled[slot]!] = value;
    filled[slot] = filled[slot]! + 1;
    for (let axis = at.length - 1; axis >= 0 && ++at[axis]! >= tensor.dims[axis]!; axis--) at[axis] = 0;
  }
  return out;
}
