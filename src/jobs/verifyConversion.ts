import { create } from '@bufbuild/protobuf';
import { BadInputError } from '../errors.js';
import type { OpenedCheckpoint } from '../checkpoint/open.js';
import { plain, withOutputs } from '../checkpoint/onnx/exposed.js';
import { writeModel } from '../checkpoint/onnx/model.js';
import { GraphProtoSchema, ModelProtoSchema, type ModelProto } from '../checkpoint/onnx/onnx_pb.js';
import { DataType, isFloat, readTensor, tensorProto, type Tensor } from '../checkpoint/onnx/tensor.js';
import { runKerasCell } from '../checkpoint/tfjs/equations.js';
import { formatNumber } from '../report/format.js';
import type { InferenceRuntime } from '../runtime/inference.js';
import type { ReferenceModel, ReferenceRuntime } from '../runtime/reference.js';
import { readModelInputs, syntheticBatch } from '../samples/modelInputs.js';
import { seededRandom } from '../samples/random.js';
import { defaultInputRange, rangeHull, type InputRange } from '../stability/networkBounds.js';
import type { CheckpointFiles } from './jobs.js';

/** What comparing a converted model with its original showed. */
export interface ConversionVerification {
  /** TF.js running the original, or the cell equations of Keras where TF.js cannot load it or is not at hand. */
  oracle: 'tfjs' | 'equations';
  /** Largest absolute difference of an output over the largest absolute value of that output. */
  difference: number;
  sequences: number;
  steps: number;
  /** One sentence for people. */
  summary: string;
}

export interface ConvertOptions {
  /** Range of the float inputs that the models are compared on; absent: [-1, 1]. */
  inputRange?: InputRange;
}

const agreed = 1e-5;
/** A model that amplifies rounding lets two correct implementations differ by some times what one rounding does. */
const roundings = 16;
/** Inputs are made smaller where the model amplifies rounding on large ones: a mistake would show on all of them. */
const scales = [1, 1 / 8, 1 / 64];
const compared = { sequences: 8, steps: 24, seed: 20200229 };

/** Compares the converted model in ONNX Runtime with the original. */
export async function verifyConversion(
  checkpoint: OpenedCheckpoint,
  files: CheckpointFiles,
  options: ConvertOptions,
  runtime: InferenceRuntime,
  reference: ReferenceRuntime | null,
): Promise<ConversionVerification> {
  const whole = rangeHull(options.inputRange ?? defaultInputRange);
  const ranges = scales.map((scale) => ({ lower: whole.lower * scale, upper: whole.upper * scale }));
  const inputs = ranges.map((range) => comparedInputs(checkpoint, range));
  const runs = inputs.map(
    ({ feeds }): Run =>
      (model) =>
        runOnce(runtime, model, feeds),
  );
  const { original, refusal } = await loadOriginal(reference, files, checkpoint, inputs[0]!.feeds);
  try {
    let best: Difference = { difference: Infinity, where: '' };
    let at = 0;
    for (let i = 0; i < inputs.length && best.difference > agreed; i++) {
      const result = original
        ? await againstOriginal(checkpoint, original, inputs[i]!.feeds, runs[i]!)
        : await againstEquations(checkpoint, inputs[i]!.feeds, runs[i]!);
      if (result.difference < best.difference || i === 0) [best, at] = [result, i];
    }
    const name = original ? original.name : 'the cell equations of Keras';
    const amplified = best.difference > agreed;
    const { sequences, steps, hasFloats } = inputs[at]!;
    const range = hasFloats ? ` with inputs in [${formatNumber(ranges[at]!.lower)}, ${formatNumber(ranges[at]!.upper)}]` : '';
    const extent = `${sequences} sequences of ${steps} steps${range}`;
    if (amplified && !(best.difference <= roundings * (await sensitivity(checkpoint, runs[at]!)))) {
      throw new BadInputError(
        'conversion-failed',
        `the converted model does not agree with ${name}: ${best.where} differs by ${formatNumber(best.difference)} relative on ${extent}; please report it with the checkpoint`,
      );
    }
    const rounding = amplified ? ' (the model amplifies rounding by that much)' : '';
    const why = refusal === '' ? '' : ` TF.js cannot run the file (${refusal.replace(/\.$/, '')}).`;
    const scope = original ? '' : ' Only the recurrent layers are covered by the equations.';
    return {
      oracle: original ? 'tfjs' : 'equations',
      difference: best.difference,
      sequences,
      steps,
      summary: `Conversion verified against ${name}: ${extent}, largest relative difference ${formatNumber(best.difference)}${rounding}.${why}${scope}`,
    };
  } finally {
    original?.release();
  }
}

/** The original where TF.js loads and runs it, else why it does not. */
async function loadOriginal(
  reference: ReferenceRuntime | null,
  files: CheckpointFiles,
  checkpoint: OpenedCheckpoint,
  feeds: ReadonlyMap<string, Tensor>,
): Promise<{ original: ReferenceModel | null; refusal: string }> {
  let original: ReferenceModel | null = null;
  try {
    original = (await reference?.load(files)) ?? null;
    await original?.run(originalInputs(checkpoint, feeds));
    return { original, refusal: '' };
  } catch (error) {
    original?.release();
    // No fault of the model: what was asked for is not installed.
    if (error instanceof BadInputError) throw error;
    return { original: null, refusal: (error instanceof Error ? error.message : String(error)).split('\n')[0]! };
  }
}

interface Difference {
  readonly difference: number;
  /** What differs most. */
  readonly where: string;
}

type Run = (model: ModelProto) => Promise<Map<string, Tensor>>;

function originalInputs({ onnx, states }: OpenedCheckpoint, feeds: ReadonlyMap<string, Tensor>): Tensor[] {
  return onnx.model.graph.input.flatMap(({ name }) => (states.has(name) ? [] : [feeds.get(name)!]));
}

interface ComparedInputs {
  readonly feeds: Map<string, Tensor>;
  readonly sequences: number;
  readonly steps: number;
  /** False where all inputs are tokens, which have no range. */
  readonly hasFloats: boolean;
}

function comparedInputs(checkpoint: OpenedCheckpoint, range: { lower: number; upper: number }): ComparedInputs {
  const axes = readModelInputs(checkpoint.onnx);
  const sequences = axes.batch ?? compared.sequences;
  const steps = axes.time ?? compared.steps;
  const batch = syntheticBatch(axes, range, sequences, steps, compared.seed);
  const random = seededRandom(compared.seed);
  const feeds = new Map(batch.feeds);
  for (const input of axes.inputs) {
    const tensor = feeds.get(input.name)!;
    // What has no time axis gets values too, but for states: they start from zero in TF.js.
    if (input.timeAxis !== null || !isFloat(input.type) || checkpoint.states.has(input.name)) continue;
    feeds.set(input.name, { ...tensor, data: tensor.data.map(() => range.lower + (range.upper - range.lower) * random()) });
  }
  const hasFloats = axes.inputs.some((i) => isFloat(i.type) && i.tokens === null && !checkpoint.states.has(i.name));
  return { feeds, sequences, steps, hasFloats };
}

async function runOnce(
  runtime: InferenceRuntime,
  model: ModelProto,
  feeds: ReadonlyMap<string, Tensor>,
): Promise<Map<string, Tensor>> {
  const session = await runtime.load(writeModel(model));
  try {
    return await session.run(feeds);
  } finally {
    await session.release();
  }
}

async function againstOriginal(
  checkpoint: OpenedCheckpoint,
  original: ReferenceModel,
  feeds: ReadonlyMap<string, Tensor>,
  run: Run,
): Promise<Difference> {
  const { model } = checkpoint.onnx;
  const expected = await original.run(originalInputs(checkpoint, feeds));
  const actual = await run(model);
  const outputs = model.graph.output.map((o) => o.name).filter((name) => !checkpoint.states.has(name));
  return largest(outputs.map((name, i) => ({ where: `output ${name}`, difference: relative(actual.get(name)!, expected[i]) })));
}

/** Runs every recurrent layer by its equations on what the converted model feeds it. */
async function againstEquations(
  { onnx, origins }: OpenedCheckpoint,
  feeds: ReadonlyMap<string, Tensor>,
  run: Run,
): Promise<Difference> {
  const read = onnx.nodes.flatMap((n) => [n.x, n.sequenceLens, n.initialH, n.initialC, n.y, n.yH]).filter((name) => name !== '');
  const values = new Map([...feeds, ...(await run(withOutputs(onnx.model, read)))]);
  const value = (name: string) => (name === '' ? null : (values.get(name) ?? onnx.constants.value(name)));
  return largest(
    onnx.nodes.map((node) => {
      const name = node.node.name;
      const x = value(node.x)!;
      const [steps, batch] = x.dims as [number, number];
      const lengths = value(node.sequenceLens);
      const states = [value(node.initialH), value(node.initialC)];
      const units = node.hiddenSize;
      const parts = node.kind === 'lstm' ? 2 : 1;
      const y = new Float64Array(steps * node.directions.length * batch * units);
      const yH = new Float64Array(node.directions.length * batch * units);
      node.directions.forEach(({ reverse }, d) => {
        for (let n = 0; n < batch; n++) {
          const length = lengths ? lengths.data[n]! : steps;
          const order = Array.from({ length }, (_, i) => (reverse ? length - 1 - i : i));
          const row = (t: number) => x.data.subarray((t * batch + n) * node.inputSize, (t * batch + n + 1) * node.inputSize);
          const at = (d * batch + n) * units;
          const initial = Float64Array.from(
            { length: parts * units },
            (_, i) => states[Math.floor(i / units)]?.data[at + (i % units)] ?? 0,
          );
          const reached = runKerasCell(origins.get(name)!.cells[d]!, order.map(row), initial);
          reached.forEach((state, i) =>
            y.set(state.subarray(0, units), ((order[i]! * node.directions.length + d) * batch + n) * units),
          );
          yH.set((reached.at(-1) ?? initial).subarray(0, units), at);
        }
      });
      const actual = node.y === '' ? value(node.yH)! : value(node.y)!;
      return { where: `layer ${name}`, difference: relative(actual, { ...actual, data: node.y === '' ? yH : y }) };
    }),
  );
}

/** How much the outputs move when every stored float is rounded the other way once. */
async function sensitivity({ onnx }: OpenedCheckpoint, run: Run): Promise<number> {
  const random = seededRandom(compared.seed);
  const rounded = onnx.model.graph.initializer.map((stored) => {
    if (stored.dataType !== DataType.FLOAT) return stored;
    const { dims, data } = readTensor(stored, new Map());
    return tensorProto(
      stored.name,
      DataType.FLOAT,
      dims,
      data.map((v) => v * (1 + (random() < 0.5 ? -1 : 1) * 2 ** -23)),
    );
  });
  const graph = create(GraphProtoSchema, { ...plain(onnx.model.graph), initializer: rounded });
  const [before, after] = [await run(onnx.model), await run(create(ModelProtoSchema, { ...plain(onnx.model), graph }))];
  return largest([...before].map(([where, tensor]) => ({ where, difference: relative(after.get(where)!, tensor) }))).difference;
}

function largest(differences: readonly Difference[]): Difference {
  return differences.reduce((a, b) => (b.difference > a.difference ? b : a), { difference: 0, where: 'nothing' });
}

/** Largest absolute difference over the largest absolute value; infinite where the shapes or the places of NaN differ. */
function relative(actual: Tensor, expected: Tensor | undefined): number {
  if (!expected || actual.dims.join() !== expected.dims.join()) return Infinity;
  let difference = 0;
  let size = 0;
  for (let i = 0; i < actual.data.length; i++) {
    const [a, b] = [actual.data[i]!, expected.data[i]!];
    if (Object.is(a, b)) continue;
    const distance = Math.abs(a - b);
    difference = Math.max(difference, Number.isNaN(distance) ? Infinity : distance);
  }
  for (const v of expected.data) if (Number.isFinite(v)) size = Math.max(size, Math.abs(v));
  return difference === 0 ? 0 : difference / Math.max(size, Number.MIN_VALUE);
}
