import { create } from '@bufbuild/protobuf';
import { declared, plain } from '../checkpoint/onnx/exposed.js';
import { writeModel } from '../checkpoint/onnx/model.js';
import { GraphProtoSchema, ModelProtoSchema, type NodeProto } from '../checkpoint/onnx/onnx_pb.js';
import type { OutputSignal } from '../checkpoint/onnx/outputSignals.js';
import { sequenceAtoms, timeAndBatch, type OnnxCheckpoint } from '../checkpoint/onnx/reader.js';
import { elementCount, type Tensor } from '../checkpoint/onnx/tensor.js';
import { BadInputError } from '../errors.js';
import { walkSignal, type Signal } from '../network/signal.js';
import { signalValue } from '../network/signalValues.js';
import type { InferenceRuntime } from '../runtime/inference.js';
import { PositionUses } from '../truncation/placement.js';
import type { Place } from './measuredCurve.js';
import type { SourceSequence } from './sequences.js';

/** What the model makes of the recurrent layers' outputs at one position: its own float outputs, one behind the other. */
export interface OutputHead {
  /** Numbers of an output row. */
  readonly size: number;
  /**
   * @param hidden by layer, rows of h
   * @param places sequence and position that each row belongs to
   * @returns rows of outputs
   */
  evaluate(hidden: readonly Rows[], places: readonly Place[]): Promise<Float64Array>;
  release(): Promise<void>;
}

interface Rows {
  readonly data: Float64Array;
  readonly width: number;
}

/**
 * @throws BadInputError output-not-measured where an output does not speak of one position, or cannot be computed for one
 */
export async function outputHead(
  checkpoint: OnnxCheckpoint,
  outputs: readonly OutputSignal[],
  sequences: readonly SourceSequence[],
  runtime: InferenceRuntime,
): Promise<OutputHead> {
  const refuse = (reason: string): never => {
    throw new BadInputError('output-not-measured', `the error at the model's own outputs cannot be measured: ${reason}`);
  };
  if (outputs.length === 0) refuse('no float output depends on a recurrent layer');
  const uses = new PositionUses(checkpoint);
  for (const { name } of outputs) {
    const { use, reason } = uses.of(name);
    if (use === 'all') refuse(`output ${name} depends on every position of the sequence${reason ? `, through ${reason}` : ''}`);
  }
  const blocked = outputs.find((o) => o.blockedBy !== null);
  const work = outputs.reduce((sum, o) => sum + signalWork(o.signal), 0);
  if (!blocked && work <= cheapRow) return signalHead(outputs, sequences);
  const names = outputs.map((o) => o.name);
  return runtimeHead(checkpoint, names, runtime).catch((error: unknown) => {
    if (!blocked) return signalHead(outputs, sequences);
    const reason = error instanceof Error ? error.message : String(error);
    return refuse(`output ${blocked.name} comes through ${blocked.blockedBy}, which is not understood, and ${reason}`);
  });
}

/** Multiplications that a row may cost before a batch of them in ONNX Runtime is faster than the signals. */
const cheapRow = 2000;

function signalWork(signal: Signal): number {
  let work = 0;
  walkSignal(signal, (s) => (work += s.kind === 'linear' ? s.matrix.data.length : s.size));
  return work;
}

/** The outputs as signals, in float64. */
export function signalHead(outputs: readonly OutputSignal[], sequences: readonly SourceSequence[]): OutputHead {
  const size = outputs.reduce((n, o) => n + o.signal.size, 0);
  return {
    size,
    evaluate(hidden, places) {
      const out = new Float64Array(places.length * size);
      places.forEach(({ sequence, position }, row) => {
        let offset = row * size;
        for (const { signal } of outputs) {
          const source = (name: string) => sequences[sequence]!.get(name)![position]!;
          const layer = (index: number) => {
            const { data, width } = hidden[index]!;
            return data.subarray(row * width, (row + 1) * width);
          };
          out.set(signalValue(signal, source, layer), offset);
          offset += signal.size;
        }
      });
      return Promise.resolve(out);
    },
    release: () => Promise.resolve(),
  };
}

/** Rows that ONNX Runtime gets at once. */
const rowsAtOnce = 4096;

/**
 * The part of the model behind its recurrent layers, in ONNX Runtime: every row is a sequence of one step.
 * @throws Error in words where that part needs more than the layers' outputs, or does not take one step
 */
export async function runtimeHead(
  checkpoint: OnnxCheckpoint,
  names: readonly string[],
  runtime: InferenceRuntime,
): Promise<OutputHead> {
  const { model, constants, shapes, nodes: recurrent } = checkpoint;
  const layerOf = (name: string) => recurrent.findIndex((n) => n.y === name || n.yH === name);
  const kept = new Set<NodeProto>();
  const cut = new Map<string, number>();
  const reach = (name: string) => {
    const layer = layerOf(name);
    if (layer >= 0) return void cut.set(name, layer);
    if (recurrent.some((n) => n.yC === name)) throw new Error('it reads the final cell state');
    const node = constants.producer(name);
    if (!node) {
      const isInput = name !== '' && !model.graph.initializer.some((t) => t.name === name);
      if (isInput) throw new Error(`it also reads the input ${name}`);
      return;
    }
    if (kept.has(node)) return;
    kept.add(node);
    node.input.forEach(reach);
  };
  names.forEach(reach);
  const { batch } = sequenceAtoms(checkpoint);
  const single = recurrent.every((node) => timeAndBatch(node, shapes)?.batch.length === 1);
  const batchAxes = names.map((name) => shapes.axisOf(name, batch));
  if (!single || batchAxes.some((axis) => axis === null)) throw new Error('its batch axis cannot be followed');
  const type = recurrent[0]!.type;
  const graph = create(GraphProtoSchema, {
    ...plain(model.graph),
    node: model.graph.node.filter((node) => kept.has(node)),
    input: [...cut.keys()].map((name) => declared(name, type)),
    output: names.map((name) => declared(name, type)),
    valueInfo: [],
  });
  const session = await runtime.load(writeModel(create(ModelProtoSchema, { ...plain(model), graph })));
  const run = async (hidden: readonly Rows[], from: number, to: number): Promise<Float64Array> => {
    const rows = to - from;
    const feeds = new Map<string, Tensor>();
    for (const [name, layer] of cut) {
      const { layout, y, directions, hiddenSize } = recurrent[layer]!;
      const { data, width } = hidden[layer]!;
      const d = directions.length;
      const values = data.subarray(from * width, to * width);
      const batchFirst = layout === 1 || d === 1;
      const ordered = batchFirst ? values : byDirection(values, rows, d, hiddenSize);
      const dims = layout === 1 ? [rows, 1, d, hiddenSize] : [1, d, rows, hiddenSize];
      feeds.set(name, { type, dims: name === y ? dims : dims.filter((_, axis) => axis !== layout), data: ordered });
    }
    const answers = await session.run(feeds);
    const parts = names.map((name, i) => rowsOf(answers.get(name)!, batchAxes[i]!, rows));
    const size = parts.reduce((n, p) => n + p.length / rows, 0);
    const out = new Float64Array(rows * size);
    let offset = 0;
    for (const part of parts) {
      const width = part.length / rows;
      for (let r = 0; r < rows; r++) out.set(part.subarray(r * width, (r + 1) * width), r * size + offset);
      offset += width;
    }
    return out;
  };
  // One row tells the size, and that this part of the model takes a sequence of one step at all.
  const probe = recurrent.map(({ directions, hiddenSize }) => {
    const width = directions.length * hiddenSize;
    return { data: new Float64Array(2 * width), width };
  });
  const size = await run(probe, 0, 2)
    .then((rows) => rows.length / 2)
    .catch(async (error: unknown) => {
      await session.release();
      throw error;
    });
  return {
    size,
    async evaluate(hidden, places) {
      const out = new Float64Array(places.length * size);
      for (let from = 0; from < places.length; from += rowsAtOnce) {
        out.set(await run(hidden, from, Math.min(places.length, from + rowsAtOnce)), from * size);
      }
      return out;
    },
    release: () => session.release(),
  };
}

/** [rows, directions, H] as [directions, rows, H]. */
function byDirection(values: Float64Array, rows: number, directions: number, hidden: number): Float64Array {
  const out = new Float64Array(values.length);
  for (let r = 0; r < rows; r++) {
    for (let d = 0; d < directions; d++) {
      const from = (r * directions + d) * hidden;
      out.set(values.subarray(from, from + hidden), (d * rows + r) * hidden);
    }
  }
  return out;
}

/** The elements of every index of the batch axis, one index behind the other. */
function rowsOf(tensor: Tensor, axis: number, rows: number): Float64Array {
  if (tensor.dims[axis] !== rows) throw new Error(`it gives shape [${tensor.dims.join(', ')}] for ${rows} sequences of one step`);
  const inner = elementCount(tensor.dims.slice(axis + 1));
  const width = tensor.data.length / rows;
  return Float64Array.from({ length: tensor.data.length }, (_, i) => {
    const [r, within] = [Math.floor(i / width), i % width];
    return tensor.data[(Math.floor(within / inner) * rows + r) * inner + (within % inner)]!;
  });
}
