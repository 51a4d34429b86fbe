import { create } from '@bufbuild/protobuf';
import { plain, withDimension, withOutputs } from '../checkpoint/onnx/exposed.js';
import { writeModel } from '../checkpoint/onnx/model.js';
import {
  GraphProtoSchema,
  ModelProtoSchema,
  type GraphProto,
  type ModelProto,
  type ValueInfoProto,
} from '../checkpoint/onnx/onnx_pb.js';
import { sequenceAtoms, type OnnxCheckpoint } from '../checkpoint/onnx/reader.js';
import { DataType, type Tensor } from '../checkpoint/onnx/tensor.js';
import { outputLayers } from '../network/network.js';
import { refusedBy, type InferenceRuntime, type InferenceSession } from '../runtime/inference.js';
import { runBatch, sliceBatch, wholeChunks, type InputAxes, type InputBatch } from '../samples/modelInputs.js';
import { PositionUses } from './placement.js';
import type { WindowModel } from './window.js';

/** Errors between a truncated model and its original in ONNX Runtime, maxima of absolute differences. */
export interface Comparison {
  /** On sequences longer than the window; null where there are none. */
  readonly recurrent: number | null;
  readonly output: number | null;
  /** On sequences exactly as long as the window: rounding only; null where the original takes no such sequence. */
  readonly exact: number | null;
  /** Windows compared. */
  readonly windows: number;
  /** What rounding may make of values of this size. */
  readonly rounding: number;
}

/** Sequences and positions that are compared: enough to see a mistake, few enough to take seconds. */
const maxSequences = 48;
const maxPositions = 8;

const roundingOf: Partial<Record<DataType, number>> = {
  [DataType.FLOAT]: 5e-5,
  [DataType.DOUBLE]: 1e-9,
  [DataType.FLOAT16]: 2e-2,
};

export async function compareWithOriginal(
  checkpoint: OnnxCheckpoint,
  axes: InputAxes,
  window: WindowModel,
  batch: InputBatch,
  runtime: InferenceRuntime,
): Promise<Comparison> {
  const comparer = new Comparer(checkpoint, axes, window);
  const original = await runtime.load(writeModel(comparer.original)).catch(unverifiable);
  try {
    const truncated = await runtime.load(writeModel(comparer.truncated));
    try {
      return await comparer.run(
        original,
        truncated,
        sliceBatch(axes, batch, 0, wholeChunks(axes, Math.min(maxSequences, batch.sequences))),
      );
    } finally {
      await truncated.release();
    }
  } finally {
    await original.release();
  }
}

const unverifiable = (error: unknown) => refusedBy(error, 'no export of it can be verified');

class Comparer {
  readonly original: ModelProto;
  readonly truncated: ModelProto;
  private readonly uses: PositionUses;
  /** Tensors that carry the recurrent output, in both models under the same name. */
  private readonly recurrent: string[];
  private readonly outputs: string[];
  private largest = 0;

  constructor(
    private readonly checkpoint: OnnxCheckpoint,
    private readonly axes: InputAxes,
    private readonly window: WindowModel,
  ) {
    this.uses = new PositionUses(checkpoint);
    this.outputs = checkpoint.model.graph.output.map((o) => o.name);
    this.recurrent = outputLayers(checkpoint.network).flatMap((index) => {
      const { y, yH } = checkpoint.nodes[index]!;
      const present = [y, yH].find((name) => name !== '' && window.model.graph.node.some((n) => n.output.includes(name)));
      return present === undefined ? [] : [present];
    });
    this.original = withOutputs(withAnyLength(checkpoint.model, this.uses), this.recurrent);
    this.truncated = withOutputs(window.model, this.recurrent);
  }

  async run(original: InferenceSession, truncated: InferenceSession, batch: InputBatch): Promise<Comparison> {
    const { length, position } = this.window;
    let recurrent: number | null = null;
    let output: number | null = null;
    let windows = 0;
    if (position !== null && batch.steps > length) {
      const full = await this.evaluate(original, batch).catch(unverifiable);
      for (const start of this.starts(batch.steps)) {
        const part = await this.evaluate(truncated, sliceBatch(this.axes, batch, 0, batch.sequences, start, start + length));
        recurrent = Math.max(recurrent ?? 0, this.difference(this.recurrent, full, part, start + position));
        output = Math.max(output ?? 0, this.difference(this.outputs, full, part, start + position));
        windows += batch.sequences;
      }
    }
    let exact: number | null = null;
    if (batch.steps >= length) {
      const short = sliceBatch(this.axes, batch, 0, batch.sequences, 0, length);
      // A checkpoint of a fixed length can hold that length in other places than its input; then there is nothing to compare.
      const full = await this.evaluate(original, short).catch(() => null);
      if (full) {
        const part = await this.evaluate(truncated, short);
        exact = this.difference([...this.recurrent, ...this.outputs], full, part, position);
        windows += batch.sequences;
      }
    }
    const rounding = (roundingOf[this.checkpoint.nodes[0]!.type] ?? 5e-5) * (1 + this.largest);
    return { recurrent, output, exact, windows, rounding };
  }

  /** First positions of the windows that are compared. */
  private starts(steps: number): number[] {
    const last = steps - this.window.length;
    const { placement } = this.window;
    if (placement.kind === 'window' && placement.at === 'last') return [last];
    if (placement.kind === 'window' && placement.at === 'first') return [0];
    const count = Math.min(maxPositions, last + 1);
    return Array.from({ length: count }, (_, i) => (count === 1 ? last : Math.round((i * last) / (count - 1))));
  }

  private evaluate(session: InferenceSession, batch: InputBatch): Promise<Map<string, Tensor>> {
    const { batch: batchAtoms } = sequenceAtoms(this.checkpoint);
    return runBatch(session, this.axes, batch, (name) => this.checkpoint.shapes.axisOf(name, batchAtoms));
  }

  /**
   * @param position of the full tensors that the truncated ones speak of; null: all positions of both are compared
   */
  private difference(
    names: readonly string[],
    full: ReadonlyMap<string, Tensor>,
    part: ReadonlyMap<string, Tensor>,
    position: number | null,
  ): number {
    let largest = 0;
    for (const name of names) {
      const axis = this.uses.timeAxis(name);
      const a = full.get(name)!;
      const b = part.get(name)!;
      const each = axis !== null && this.uses.of(name).use === 'each' && position !== null;
      const [left, right] = each
        ? [at(a, axis, position), at(b, axis, b.dims[axis] === 1 ? 0 : this.window.position!)]
        : [a.data, b.data];
      if (left.length !== right.length)
        throw new Error(`Output ${name} has ${right.length} numbers where the original has ${left.length}`);
      for (let i = 0; i < left.length; i++) {
        // NaN compares false with everything: values that are not alike but have no distance are infinitely far apart.
        const alike = Object.is(left[i], right[i]);
        const distance = Math.abs(left[i]! - right[i]!);
        largest = Math.max(largest, alike ? 0 : Number.isNaN(distance) ? Infinity : distance);
        if (Number.isFinite(left[i]!)) this.largest = Math.max(this.largest, Math.abs(left[i]!));
      }
    }
    return largest;
  }
}

/** The elements at one index of an axis. */
function at(tensor: Tensor, axis: number, index: number): Float64Array {
  const inner = tensor.dims.slice(axis + 1).reduce((a, b) => a * b, 1);
  const size = tensor.dims[axis]!;
  return tensor.data.filter((_, i) => Math.floor(i / inner) % size === index);
}

/** The original with its sequence axis declared free, so that ONNX Runtime lets it run on short sequences. */
function withAnyLength(model: ModelProto & { graph: GraphProto }, uses: PositionUses): ModelProto & { graph: GraphProto } {
  const free = (info: ValueInfoProto) => {
    const axis = uses.timeAxis(info.name);
    return axis === null ? info : withDimension(info, axis, null);
  };
  const graph = create(GraphProtoSchema, {
    ...plain(model.graph),
    input: model.graph.input.map(free),
    output: model.graph.output.map(free),
    valueInfo: [],
  });
  return Object.assign(create(ModelProtoSchema, { ...plain(model), graph }), { graph });
}
