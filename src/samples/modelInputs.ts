import { sequenceAtoms, timeAndBatch, type OnnxCheckpoint } from '../checkpoint/onnx/reader.js';
import { dimSize } from '../checkpoint/onnx/dims.js';
import { isFloat, joinedAlong, type DataType, type Tensor } from '../checkpoint/onnx/tensor.js';
import { walkSignal } from '../network/signal.js';
import { BadInputError } from '../errors.js';
import type { InferenceSession } from '../runtime/inference.js';
import type { Box } from '../stability/interval.js';
import { rangeHull, sourceBox, type InputRange } from '../stability/networkBounds.js';
import { seededRandom } from './random.js';

/** What one input of the graph expects, with its axes named. */
export interface ModelInput {
  readonly name: string;
  readonly type: DataType;
  /** null: only known at run time. */
  readonly dims: readonly (number | null)[];
  /** null: the input has no such axis. */
  readonly timeAxis: number | null;
  readonly batchAxis: number | null;
  /** Rows of the embedding table that the input's tokens choose from; null when it is no token input. */
  readonly tokens: number | null;
  /** True when a recurrent node takes it as sequence_lens. */
  readonly isLength: boolean;
}

export interface InputAxes {
  readonly inputs: readonly ModelInput[];
  /** Steps of the sequence; null when the model takes any number. */
  readonly time: number | null;
  readonly batch: number | null;
}

/** @throws BadInputError when no input of the graph carries the sequence */
export function readModelInputs(checkpoint: OnnxCheckpoint): InputAxes {
  const { graph } = checkpoint.model;
  const initialized = new Set(graph.initializer.map((t) => t.name));
  const atoms = sequenceAtoms(checkpoint);
  const tables = new Map<string, number>();
  for (const layer of checkpoint.network.layers) {
    walkSignal(layer.input, (s) => {
      if (s.kind === 'table') tables.set(s.source, s.rows.rows);
    });
  }
  const lengths = new Set(checkpoint.nodes.map((n) => n.sequenceLens).filter((name) => name !== ''));
  const inputs = graph.input
    .filter((info) => !initialized.has(info.name))
    .map((info): ModelInput => {
      const type = info.type?.value;
      if (type?.case !== 'tensorType') throw new BadInputError('unsupported-type', `input ${info.name} is not a tensor`);
      const shape = checkpoint.shapes.shape(info.name) ?? [];
      return {
        name: info.name,
        type: type.value.elemType as DataType,
        dims: shape.map(dimSize),
        timeAxis: checkpoint.shapes.axisOf(info.name, atoms.time),
        batchAxis: checkpoint.shapes.axisOf(info.name, atoms.batch),
        tokens: tables.get(info.name) ?? null,
        isLength: lengths.has(info.name),
      };
    });
  const first = checkpoint.nodes.map((node) => timeAndBatch(node, checkpoint.shapes)).find((a) => a !== null);
  const time = first ? dimSize(first.time) : null;
  return { inputs, time, batch: first ? dimSize(first.batch) : null };
}

/** A batch of whole sequences, ready for the model. */
export interface InputBatch {
  readonly feeds: ReadonlyMap<string, Tensor>;
  readonly sequences: number;
  readonly steps: number;
}

/** Ranges of the features of an input; where the stated ones are of another size, because they belong behind an operator, all of them together. */
function inputBox(range: InputRange, name: string, features: number): Box {
  const stated = range.sources?.[name] ?? range;
  const size = typeof stated.lower === 'number' ? features : stated.lower.length;
  return sourceBox(size === features ? range : rangeHull(range), name, features);
}

/** Dimensions of an input for `sequences` sequences of `steps` steps. */
export function concreteDims(input: ModelInput, sequences: number, steps: number): number[] {
  return input.dims.map((d, axis) => (axis === input.timeAxis ? steps : axis === input.batchAxis ? sequences : (d ?? 1)));
}

/** Step, sequence and feature (in row-major order) of the i-th number of an input. */
export function indexIn(input: ModelInput, dims: readonly number[]) {
  const along = (axis: number | null) => {
    if (axis === null) return () => 0;
    const inner = dims.slice(axis + 1).reduce((a, b) => a * b, 1);
    return (i: number) => Math.floor(i / inner) % dims[axis]!;
  };
  const features = dims.flatMap((size, axis) =>
    axis === input.timeAxis || axis === input.batchAxis ? [] : [{ size, index: along(axis) }],
  );
  return {
    step: along(input.timeAxis),
    sequence: along(input.batchAxis),
    feature: (i: number) => features.reduce((f, { size, index }) => f * size + index(i), 0),
  };
}

/**
 * Seeded synthetic sequences from the stated range: each sequence is white noise, a smooth random walk, or adversarial in the
 * simplest way, ends of the range that are held and then change, because truncation shows different faces to each.
 */
export function syntheticBatch(axes: InputAxes, range: InputRange, sequences: number, steps: number, seed: number): InputBatch {
  const random = seededRandom(seed);
  const feeds = new Map<string, Tensor>();
  for (const input of axes.inputs) {
    const dims = concreteDims(input, sequences, steps);
    const data = new Float64Array(dims.reduce((a, b) => a * b, 1));
    const { step, sequence, feature } = indexIn(input, dims);
    if (input.isLength) {
      data.fill(steps);
    } else if (input.tokens !== null) {
      for (let i = 0; i < data.length; i++) data[i] = Math.floor(random() * input.tokens);
    } else if (isFloat(input.type) && input.timeAxis !== null) {
      const features = dims.reduce((n, d, axis) => (axis === input.timeAxis || axis === input.batchAxis ? n : n * d), 1);
      const { lower, upper } = inputBox(range, input.name, features);
      const timeStride = dims.slice(input.timeAxis + 1).reduce((a, b) => a * b, 1);
      for (let i = 0; i < data.length; i++) {
        const t = step(i);
        const f = feature(i);
        const half = (upper[f]! - lower[f]!) / 2;
        const middle = lower[f]! + half;
        const noise = 2 * random() - 1;
        const kind = sequence(i) % 3;
        const before = t > 0 && half > 0 ? (data[i - timeStride]! - middle) / half : noise;
        const held = t % 16 === 0 ? Math.sign(noise) : before;
        const value = kind === 0 ? noise : kind === 1 ? Math.max(-1, Math.min(1, before + 0.2 * noise)) : held;
        data[i] = middle + half * value;
      }
    }
    feeds.set(input.name, { type: input.type, dims, data });
  }
  return { feeds, sequences, steps };
}

/** Sequences `from` up to `to` and steps `first` up to `last` of a batch. */
export function sliceBatch(
  axes: InputAxes,
  batch: InputBatch,
  from: number,
  to: number,
  first = 0,
  last = batch.steps,
): InputBatch {
  const feeds = new Map<string, Tensor>();
  for (const input of axes.inputs) {
    const tensor = batch.feeds.get(input.name)!;
    let { dims, data } = tensor;
    const cut = (axis: number | null, start: number, end: number) => {
      if (axis === null || (start === 0 && end === dims[axis])) return;
      const inner = dims.slice(axis + 1).reduce((a, b) => a * b, 1);
      const size = dims[axis]!;
      const source = data;
      data = Float64Array.from({ length: (source.length / size) * (end - start) }, (_, i) => {
        const run = (end - start) * inner;
        return source[Math.floor(i / run) * size * inner + start * inner + (i % run)]!;
      });
      dims = dims.map((d, a) => (a === axis ? end - start : d));
    };
    cut(input.batchAxis, from, to);
    cut(input.timeAxis, first, last);
    if (input.isLength) data = data.map(() => last - first);
    feeds.set(input.name, { type: tensor.type, dims, data });
  }
  return { feeds, sequences: to - from, steps: last - first };
}

/**
 * Runs a model over a batch of any size, in chunks where its batch is fixed, and joins the outputs along `batchAxis`.
 * @param batchAxis axis of an output that counts sequences; null for an output without one, of which the first chunk is kept
 */
export async function runBatch(
  session: InferenceSession,
  axes: InputAxes,
  batch: InputBatch,
  batchAxis: (output: string) => number | null,
): Promise<Map<string, Tensor>> {
  const chunk = axes.batch ?? batch.sequences;
  if (chunk === batch.sequences) return session.run(batch.feeds);
  const parts: Map<string, Tensor>[] = [];
  for (let from = 0; from + chunk <= batch.sequences; from += chunk) {
    parts.push(await session.run(sliceBatch(axes, batch, from, from + chunk).feeds));
  }
  const [first, ...rest] = parts;
  if (!first) return new Map();
  return new Map(
    [...first].map(([name, tensor]) => {
      const axis = batchAxis(name);
      return [name, axis === null ? tensor : joinedAlong([tensor, ...rest.map((part) => part.get(name)!)], axis)];
    }),
  );
}

/** Sequences that a model with a fixed batch can take whole chunks of. */
export function wholeChunks(axes: InputAxes, sequences: number): number {
  const chunk = axes.batch ?? 1;
  return Math.max(1, Math.floor(sequences / chunk)) * chunk;
}
