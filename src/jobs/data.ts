import { outputSignals, type OutputSignal } from '../checkpoint/onnx/outputSignals.js';
import type { OnnxCheckpoint } from '../checkpoint/onnx/reader.js';
import { BadInputError } from '../errors.js';
import { alongData } from '../measurement/alongData.js';
import { measureCurve, type MeasuredCurve, type Measurement } from '../measurement/measuredCurve.js';
import { outputHead } from '../measurement/outputHead.js';
import { planMeasurement } from '../measurement/plan.js';
import { sourceSequences, type SourceSequence } from '../measurement/sequences.js';
import { searchWorst } from '../measurement/worstSearch.js';
import { quantileOf, statisticalLength, type StatisticalLength } from '../measurement/statisticalLength.js';
import type { RecurrentNetwork } from '../network/network.js';
import { formatNumber } from '../report/format.js';
import type { AlongData, Diagnostic } from '../report/report.js';
import type { InferenceRuntime } from '../runtime/inference.js';
import { syntheticBatch, wholeChunks, type InputAxes, type InputBatch } from '../samples/modelInputs.js';
import { sampleBatches } from '../samples/sampleBatches.js';
import { badSamples } from '../samples/sampleArray.js';
import { smallestLength } from '../stability/errorCurve.js';
import type { Box } from '../stability/interval.js';
import {
  anyInput,
  defaultInputRange,
  freeSources,
  needsInputRange,
  sourceBox,
  type InputRange,
} from '../stability/networkBounds.js';
import { extentOf, rangeOfSamples, sampleMargin } from '../stability/sampleRange.js';
import { drive } from './analyse.js';
import type { CheckOptions, CheckpointFiles } from './jobs.js';
import { findSamples } from './samples.js';

/** The sequences of a check: the user's, or synthetic ones of the stated range. */
export interface Data {
  readonly source: 'samples' | 'synthetic';
  /** File or folder of the samples. */
  readonly name: string | null;
  readonly batches: readonly InputBatch[];
  /** What the layers read; null where ONNX Runtime refuses the model or one sequence cannot describe it. */
  readonly sequences: readonly SourceSequence[] | null;
  /** The model's own outputs, where the error at them is asked for. */
  readonly outputs: readonly OutputSignal[];
  /** The range that certificates are for. */
  readonly range: InputRange;
  readonly diagnostics: readonly Diagnostic[];
}

/** How many synthetic sequences stand in where there are no samples, and how much longer they are than the longest window. */
const synthetic = { sequences: 24, extraSteps: 32, seed: 20180525 };

/** Synthetic sequences longer than the windows that they are cut into. */
export function standIn(axes: InputAxes, range: InputRange, longest: number): InputBatch {
  const steps = axes.time ?? longest + synthetic.extraSteps;
  const drawn = range === anyInput ? defaultInputRange : range;
  return syntheticBatch(axes, drawn, wholeChunks(axes, synthetic.sequences), steps, synthetic.seed);
}

export async function readData(
  checkpoint: OnnxCheckpoint,
  axes: InputAxes,
  files: CheckpointFiles,
  options: CheckOptions,
  runtime: InferenceRuntime,
): Promise<Data> {
  const samples = await findSamples(files);
  const given = samples ? sampleBatches(axes, samples.arrays, samples.name) : [];
  const outputs = options.at === 'output' ? outputSignals(checkpoint) : [];
  const diagnostics: Diagnostic[] = [];
  const read = async (batches: readonly InputBatch[]): Promise<SourceSequence[] | null> => {
    const sequences: SourceSequence[] = [];
    try {
      for (const batch of batches) {
        const signals = outputs.filter((o) => o.blockedBy === null).map((o) => o.signal);
        const part = await sourceSequences(checkpoint, axes, batch, runtime, signals);
        if (!part) return null;
        sequences.push(...part);
      }
    } catch (error) {
      // Certificates need no runtime, so a model that it refuses still gets them.
      if (!(error instanceof BadInputError) || error.code !== 'runtime-refused') throw error;
      diagnostics.push({ code: error.code, severity: 'warning', message: `Nothing could be measured: ${error.message}` });
      return null;
    }
    return sequences;
  };
  const common = { name: samples?.name ?? null, outputs, diagnostics };
  if (given.length > 0) {
    const sequences = await read(given);
    const range = statedRange(checkpoint.network, options, sequences, given);
    diagnostics.push(...outOfRange(checkpoint.network, sequences, range, samples!.name, given));
    return { ...common, source: 'samples', batches: given, sequences, range };
  }
  const range = statedRange(checkpoint.network, options, null, []);
  const batches = [standIn(axes, range, options.maxLength)];
  return { ...common, source: 'synthetic', batches, sequences: await read(batches), range };
}

/** @throws BadInputError when the range is to come from samples and there are none */
function statedRange(
  network: RecurrentNetwork,
  options: CheckOptions,
  samples: readonly SourceSequence[] | null,
  batches: readonly InputBatch[],
): InputRange {
  if (options.inputRange === undefined) return needsInputRange(network) ? defaultInputRange : anyInput;
  if (options.inputRange !== 'samples') return options.inputRange;
  const free = freeSources(network);
  if (free.length === 0) return anyInput;
  if (!samples || samples.length === 0)
    throw badSamples(
      'the input range is to be taken from samples, and there are none that could be used; name a file with --samples or state the range',
    );
  return rangeOfSamples(free.map(({ name }) => [name, stepsAt(name, samples, batches)]));
}

/** The values of a source, step by step; of an input that only an operator in front of a layer reads, all of them one by one. */
function stepsAt(
  name: string,
  sequences: readonly SourceSequence[],
  batches: readonly InputBatch[],
): readonly ArrayLike<number>[] {
  if (sequences[0]?.has(name)) return sequences.flatMap((s) => s.get(name)!);
  return batches.flatMap((batch) => Array.from(batch.feeds.get(name)?.data ?? [], (v) => [v]));
}

/** Samples that leave the stated range make the certificates silent about them. */
function outOfRange(
  network: RecurrentNetwork,
  sequences: readonly SourceSequence[] | null,
  range: InputRange,
  samples: string,
  batches: readonly InputBatch[],
): Diagnostic[] {
  if (!sequences) return [];
  const outside = freeSources(network).flatMap(({ name, size }) => {
    const seen = extentOf(stepsAt(name, sequences, batches));
    const stated: Box = sourceBox(range, name, size);
    const leaves = seen.lower.some((v, i) => v < stated.lower[i]! || seen.upper[i]! > stated.upper[i]!);
    return leaves ? [`"${name}" reaches from ${Math.min(...seen.lower)} to ${Math.max(...seen.upper)}`] : [];
  });
  if (outside.length === 0) return [];
  return [
    {
      code: 'samples-outside-range',
      severity: 'warning',
      message: `The samples in ${samples} leave the stated input range (${outside.join(', ')}): certificates say nothing about such inputs. State a wider range, or take the range from the samples (--input-range samples).`,
    },
  ];
}

/** What the certificates are conditional on, where their range comes from samples. */
export function sampleRangeDiagnostic(samples: string): Diagnostic {
  return {
    code: 'range-from-samples',
    severity: 'information',
    message: `The input range is what the samples in ${samples} fill, feature by feature, with a margin of ${sampleMargin * 100} % of each feature's width on both sides. Certificates are conditional on it: they say nothing about inputs outside.`,
  };
}

export interface Measured {
  /** At the place where ε applies; null where nothing was measured. */
  readonly curve: MeasuredCurve | null;
  /** The recurrent output's, where ε applies at the model's outputs. */
  readonly recurrent: MeasuredCurve | null;
  readonly statistical: StatisticalLength | null;
  /** How sequences forget, to first order and unit by unit. */
  readonly along: AlongData | null;
  /** The state overflowed on some sequence. */
  readonly diverges: boolean;
  readonly diagnostics: readonly Diagnostic[];
}

/** @param certified the certified length, where there is one: the search for a worse window is made there */
export async function measure(
  checkpoint: OnnxCheckpoint,
  axes: InputAxes,
  data: Data,
  maxLength: number,
  certified: number | null,
  options: CheckOptions,
  runtime: InferenceRuntime,
  progress: (fraction: number) => Promise<void>,
): Promise<Measured> {
  const { network } = checkpoint;
  const nothing: Measured = { curve: null, recurrent: null, statistical: null, along: null, diverges: false, diagnostics: [] };
  const { sequences } = data;
  if (!sequences || !data.batches.some((batch) => batch.steps > 1)) return nothing;
  const diagnostics: Diagnostic[] = [];
  const { runner, windows } = await planMeasurement(network, sequences, maxLength, options.epsilon, runtime);
  try {
    const head =
      options.at === 'output'
        ? await outputHead(checkpoint, data.outputs, sequences, runtime).catch((error: unknown) => {
            if (!(error instanceof BadInputError) || error.code !== 'output-not-measured') throw error;
            diagnostics.push({
              code: error.code,
              severity: 'warning',
              message: `Nothing was measured at the outputs: ${error.message}`,
            });
            return null;
          })
        : null;
    try {
      const measured = await measureCurve(
        network,
        sequences,
        runner,
        { maxLength, windows, epsilon: options.epsilon, head },
        (f) => progress(0.7 * f),
      );
      const curve = options.at === 'output' ? measured.output : measured.recurrent;
      const diverges = !measured.recurrent.worst.every(Number.isFinite);
      if (diverges) return { ...nothing, diverges, diagnostics };
      const { epsilon, quantile, confidence } = options;
      const statistical = curve && data.source === 'samples' ? statisticalLength(curve, epsilon, quantile, confidence) : null;
      const along = await describeAlong(network, data.source, sequences, measured, options.quantile);
      const worstFound =
        curve && (await attack(network, data, curve, statistical, certified, options, axes, (f) => progress(0.7 + 0.3 * f)));
      if (worstFound) diagnostics.push(...worseWindow(worstFound, options));
      const recurrent = options.at === 'output' ? measured.recurrent : null;
      return {
        curve,
        recurrent,
        statistical,
        along: along && { ...along, ...(worstFound ? { worstFound } : {}) },
        diverges,
        diagnostics,
      };
    } finally {
      await head?.release();
    }
  } finally {
    await runner.release();
  }
}

type WorstFoundReport = NonNullable<AlongData['worstFound']>;

/** Searches for a worse window at the length that is certified, or that the data suggest, starting from the data's own worst ones. */
async function attack(
  network: RecurrentNetwork,
  { sequences, range, outputs }: Data,
  curve: MeasuredCurve,
  statistical: StatisticalLength | null,
  certified: number | null,
  { at, epsilon }: CheckOptions,
  axes: InputAxes,
  progress: (fraction: number) => Promise<void>,
): Promise<WorstFoundReport | null> {
  if (at === 'output' && outputs.some((o) => o.blockedBy !== null)) return null;
  const measured = statistical?.kind === 'found' ? statistical.k : smallestLength(curve.k, curve.worst, epsilon);
  const wanted = certified ?? measured ?? Infinity;
  const slot = Math.max(
    1,
    curve.k.findLastIndex((length) => length <= wanted),
  );
  const k = curve.k[slot];
  if (k === undefined) return null;
  const stated = range === anyInput ? defaultInputRange : range;
  const found = await drive(
    searchWorst(network, sequences!, {
      k,
      range: (source, size) => sourceBox(stated, source, size),
      outputs: at === 'output' ? outputs.map((o) => o.signal) : null,
      starts: [slot, slot - 1, Math.floor(slot / 2)].map((i) => curve.worstAt[i]!),
      time: axes.time,
    }),
    progress,
  );
  const dataError = curve.worst[slot]!;
  return found && { k, error: Math.max(found.error, dataError), dataError, startedFrom: found.startedFrom };
}

function worseWindow({ k, error, dataError }: WorstFoundReport, { epsilon }: CheckOptions): Diagnostic[] {
  if (error <= epsilon || error <= dataError) return [];
  return [
    {
      code: 'worse-window-found',
      severity: 'information',
      message: `A search within the input range found an error of ${formatNumber(error)} at k = ${k}, where the worst of the data is ${formatNumber(dataError)}: what was measured at that length is no guarantee for other inputs.`,
    },
  ];
}

/** What the report says about the way along the data. */
async function describeAlong(
  network: RecurrentNetwork,
  source: Data['source'],
  sequences: readonly SourceSequence[],
  { recurrent, lastMoved }: Measurement,
  quantile: number,
): Promise<AlongData | null> {
  const layers = await alongData(network, sequences);
  const longest = recurrent.k.at(-1) ?? 0;
  if (!layers) return null;
  const finite = (value: number) => (Number.isFinite(value) ? value : null);
  const slowest = layers.reduce((a, b) => (b.exponent > a.exponent ? b : a));
  const lambda = Math.exp(slowest.exponent);
  return {
    source,
    lyapunovExponent: finite(slowest.exponent),
    lyapunovError: finite(slowest.standardError),
    lambda,
    effectiveMemory: lambda < 1 ? 1 / (1 - lambda) : null,
    layers: layers.map(({ exponent, standardError, jacobianNorms }, i) => ({
      name: network.layers[i]!.name,
      lyapunovExponent: finite(exponent),
      lyapunovError: finite(standardError),
      jacobianNorm:
        jacobianNorms.length === 0
          ? null
          : {
              median: quantileOf(jacobianNorms, 0.5),
              quantile: quantileOf(jacobianNorms, quantile),
              largest: jacobianNorms.at(-1)!,
              steps: jacobianNorms.length,
            },
      // Moved at the longest length that was measured: the memory ends somewhere behind it.
      unitMemory: Array.from(lastMoved[i]!, (k) => (k >= longest ? null : nextLength(recurrent.k, k))),
    })),
  };
}

/** The next longer length that was measured. */
function nextLength(lengths: readonly number[], k: number): number {
  return lengths[lengths.indexOf(k) + 1]!;
}
