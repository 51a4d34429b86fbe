import { BadInputError } from '../errors.js';
import { openCheckpoint, type OpenedCheckpoint } from '../checkpoint/open.js';
import { parameterCount, type RecurrentNetwork } from '../network/network.js';
import { walkSignal } from '../network/signal.js';
import { measureCurve } from '../measurement/measuredCurve.js';
import { sourceSequences } from '../measurement/sequences.js';
import { statisticalLength } from '../measurement/statisticalLength.js';
import type { Diagnostic, LayerReport, StabilityReport } from '../report/report.js';
import type { InferenceRuntime } from '../runtime/inference.js';
import {
  readModelInputs,
  sampleBatch,
  syntheticBatch,
  wholeChunks,
  type InputAxes,
  type InputBatch,
} from '../samples/modelInputs.js';
import { readSamples } from '../samples/npy.js';
import type { Box } from '../stability/interval.js';
import { smallestLength, type ErrorCurve } from '../stability/errorCurve.js';
import { defaultInputRange, freeSources } from '../stability/networkBounds.js';
import { analyse, drive } from './analyse.js';
import type { CheckOptions, CheckpointFiles, Progress } from './jobs.js';
import { mergeCurves, sampleDiagnostics } from './measured.js';
import { checkStream, type CheckedStream } from './stream.js';
import { decideVerdict, summarise, verdictDiagnostic, type Findings } from './verdict.js';

/** How many synthetic sequences stand in where there are no samples, and how much longer they are than the longest window. */
const synthetic = { sequences: 24, extraSteps: 32, seed: 20180525 };

/** A checked checkpoint, with what an export needs from the check. */
export interface Checked {
  readonly report: StabilityReport;
  readonly checkpoint: OpenedCheckpoint;
  readonly axes: InputAxes;
  readonly batch: InputBatch;
  readonly source: 'samples' | 'synthetic';
}

/** Samples that the user named, or those beside the checkpoint. */
async function findSamples(files: CheckpointFiles): Promise<{ name: string; bytes: Uint8Array } | null> {
  if (files.samples) return { name: files.samples.name, bytes: await files.samples.read() };
  const beside = `${files.name
    .split(/[\\/]/)
    .pop()!
    .replace(/\.[^.]*$/, '')}.samples.npz`;
  const bytes = await files.readSibling(beside);
  return bytes ? { name: beside, bytes } : null;
}

/** The stated range, and what of it the report says. */
function statedRange(network: RecurrentNetwork, options: CheckOptions, input: Box): StabilityReport['inputRange'] {
  const free = freeSources(network);
  if (free.length === 0) return { lower: [...input.lower], upper: [...input.upper], source: 'derived' };
  const range = options.inputRange ?? defaultInputRange;
  return { ...range, source: options.inputRange ? 'user' : 'default' };
}

function inputDiagnostics(network: RecurrentNetwork, range: StabilityReport['inputRange']): Diagnostic[] {
  const diagnostics: Diagnostic[] = [];
  if (range.source === 'default') {
    diagnostics.push({
      code: 'default-input-range',
      severity: 'hint',
      message:
        'The graph does not say which values its inputs take, so [-1, 1] is assumed. State the range of your data; certificates hold for that range only.',
    });
  }
  const seen = new Set<string>();
  for (const layer of network.layers) {
    walkSignal(layer.input, (s) => {
      if (s.kind !== 'source' || s.operator === null || seen.has(s.name)) return;
      seen.add(s.name);
      // Its values are known all the same, and there is no error to follow.
      if (s.range !== null && !s.recurrent) return;
      diagnostics.push({
        code: 'operator-not-understood',
        severity: s.recurrent ? 'warning' : 'information',
        layer: layer.name,
        message: s.recurrent
          ? `The input of ${layer.name} comes from a layer below through ${s.operator.type} (node ${s.operator.node}), which is not understood: errors cannot be followed through it, so the stack is not certified as a whole.`
          : `The input of ${layer.name} comes from ${s.operator.type} (node ${s.operator.node}), which is not understood: the stated input range is taken for that operator's output.`,
      });
    });
    if (layer.directions.some((d) => d.initialState === 'input')) {
      diagnostics.push({
        code: 'initial-state-input',
        severity: 'information',
        layer: layer.name,
        message: `The initial state of ${layer.name} is supplied by the caller: the stated input range is taken for it too, and measurements start from zero.`,
      });
    }
  }
  return diagnostics;
}

/** Synthetic sequences longer than the windows that they are cut into. */
export function standIn(axes: InputAxes, options: CheckOptions, longest: number): InputBatch {
  const range = options.inputRange ?? defaultInputRange;
  const steps = axes.time ?? longest + synthetic.extraSteps;
  return syntheticBatch(axes, range, wholeChunks(axes, synthetic.sequences), steps, synthetic.seed);
}

/** The whole check, with what the export needs afterwards. */
export async function runCheck(
  files: CheckpointFiles,
  options: CheckOptions,
  runtime: InferenceRuntime,
  progress: Progress,
): Promise<Checked | CheckedStream> {
  await progress('Reading the checkpoint', 0);
  const checkpoint = await openCheckpoint(files, { set: options.set ?? {}, states: options.states ?? {} }, runtime);
  if (checkpoint.streaming) {
    const samples = await findSamples(files);
    return checkStream(files.name, { ...checkpoint, streaming: checkpoint.streaming }, samples, options, runtime, progress);
  }
  const { network } = checkpoint.onnx;
  const axes = readModelInputs(checkpoint.onnx);
  const range = options.inputRange ?? defaultInputRange;

  // A model of a fixed length has no longer context than that, and with all of it nothing is truncated.
  const fixedLength = axes.time;
  const maxLength = Math.min(options.maxLength, fixedLength ?? Infinity);
  const analysis = await analyse(network, range, { epsilon: options.epsilon, maxLength }, (step, f) =>
    progress(step, 0.05 + 0.55 * f),
  );
  const curve = maxLength === fixedLength ? exactAtTheEnd(analysis.curve) : analysis.curve;

  await progress('Reading the samples', 0.6);
  const samples = await findSamples(files);
  const batch = samples
    ? sampleBatch(axes, readSamples(samples.bytes, samples.name), samples.name)
    : standIn(axes, options, options.maxLength);
  const source = samples ? ('samples' as const) : ('synthetic' as const);
  await progress('Measuring the truncation error', 0.65);
  // Certificates need no runtime, so a model that it refuses still gets them.
  const refusals: Diagnostic[] = [];
  const sequences = await sourceSequences(checkpoint.onnx, axes, batch, runtime).catch((error: unknown) => {
    if (!(error instanceof BadInputError) || error.code !== 'runtime-refused') throw error;
    refusals.push({ code: error.code, severity: 'warning', message: `Nothing could be measured: ${error.message}` });
    return null;
  });
  const measured =
    sequences && batch.steps > 1
      ? await drive(measureCurve(network, sequences, maxLength), (f) =>
          progress('Measuring the truncation error', 0.65 + 0.35 * f),
        )
      : null;
  const diverges = measured !== null && !measured.worst.every(Number.isFinite);
  const measuredCurve = diverges ? null : measured;
  const statistical =
    samples && measuredCurve ? statisticalLength(measuredCurve, options.epsilon, options.quantile, options.confidence) : null;

  const findings: Findings = {
    lambda: analysis.lambda,
    certifiedHolds: analysis.lambda < 1 || paperHolds(analysis.layers),
    certifiedLength: curve.bound && smallestLength(curve.k, curve.bound, options.epsilon),
    epsilon: options.epsilon,
    maxLength,
    statistical,
    quantile: options.quantile,
    confidence: options.confidence,
    measured: measuredCurve && { ...measuredCurve, source },
    fixedLength,
    diverges,
  };
  const { verdict, safeLength } = decideVerdict(findings);
  const summary = summarise(findings, verdict, safeLength);
  const inputRange = statedRange(network, options, analysis.bounds[0]!.input);
  const { model, opset } = checkpoint.onnx;
  const placed = (layer: string | undefined) => {
    const place = layer === undefined ? undefined : checkpoint.origins.get(layer)?.place;
    return place ? { place } : {};
  };
  const report: StabilityReport = {
    schemaVersion: 1,
    file: files.name,
    format: checkpoint.format,
    model: {
      producer: [model.producerName, model.producerVersion].filter((s) => s !== '').join(' '),
      opset,
      bytes: checkpoint.bytes,
      parameters: parameterCount(network),
    },
    verdict,
    summary,
    epsilon: options.epsilon,
    inputRange,
    safeLength,
    lambda: Number.isFinite(analysis.lambda) ? analysis.lambda : null,
    lambdaLowerBound: analysis.lambdaLowerBound,
    curve: mergeCurves(curve, measuredCurve, source),
    layers: analysis.layers.map((layer) => ({ ...layer, ...placed(layer.name) })),
    diagnostics: [
      verdictDiagnostic(verdict, summary),
      ...inputDiagnostics(network, inputRange),
      ...refusals,
      ...sampleDiagnostics(statistical, options, samples?.name ?? null, measuredCurve),
      ...outOfRange(network, sequences, range, samples?.name ?? null),
      // The verdict speaks of all layers and stands at the first.
    ].map((d, i) => ({ ...d, ...placed(i === 0 ? network.layers[0]!.name : d.layer) })),
  };
  await progress('Done', 1);
  return { report, checkpoint, axes, batch, source };
}

function exactAtTheEnd(curve: ErrorCurve): ErrorCurve {
  return { ...curve, bound: curve.bound && [...curve.bound.slice(0, -1), 0] };
}

/** A stack is stable by the paper's conditions when every layer meets them. */
function paperHolds(layers: readonly LayerReport[]): boolean {
  return layers.length === 1 && layers[0]!.certificates.some((c) => c.name === 'miller-hardt' && c.holds);
}

/** Samples that leave the stated range make the certificate silent about them. */
function outOfRange(
  network: RecurrentNetwork,
  sequences: readonly ReadonlyMap<string, readonly Float64Array[]>[] | null,
  range: { lower: number; upper: number },
  samples: string | null,
): Diagnostic[] {
  if (!samples || !sequences) return [];
  let low = Infinity;
  let high = -Infinity;
  for (const source of freeSources(network)) {
    for (const sequence of sequences) {
      for (const x of sequence.get(source.name) ?? []) {
        for (const v of x) {
          low = Math.min(low, v);
          high = Math.max(high, v);
        }
      }
    }
  }
  if (low >= range.lower && high <= range.upper) return [];
  return [
    {
      code: 'samples-outside-range',
      severity: 'warning',
      message: `The samples in ${samples} reach from ${low} to ${high}, outside the stated input range [${range.lower}, ${range.upper}]: certificates say nothing about such inputs. State a wider range.`,
    },
  ];
}

export async function check(
  files: CheckpointFiles,
  options: CheckOptions,
  runtime: InferenceRuntime,
  progress: Progress,
): Promise<StabilityReport> {
  return (await runCheck(files, options, runtime, progress)).report;
}
