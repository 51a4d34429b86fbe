import { outputSignals, type OutputSignal } from '../checkpoint/onnx/outputSignals.js';
import type { OnnxCheckpoint } from '../checkpoint/onnx/reader.js';
import { BadInputError } from '../errors.js';
import { sourceSequences, type SourceSequence } from '../measurement/sequences.js';
import type { RecurrentNetwork } from '../network/network.js';
import type { Diagnostic } from '../report/report.js';
import type { InferenceRuntime } from '../runtime/inference.js';
import { syntheticBatch, wholeChunks, type InputAxes, type InputBatch } from '../samples/modelInputs.js';
import { sampleBatches } from '../samples/sampleBatches.js';
import { badSamples } from '../samples/sampleArray.js';
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
  if (!samples || samples.length === 0) throw noSamplesForRange();
  return rangeOfSamples(free.map(({ name }) => [name, stepsAt(name, samples, batches)]));
}

export function noSamplesForRange(): BadInputError {
  return badSamples(
    'the input range is to be taken from samples, and there are none that could be used; name a file with --samples or state the range',
  );
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
