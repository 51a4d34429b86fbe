import type { OpenedCheckpoint } from '../checkpoint/open.js';
import { elementCount, isFloat } from '../checkpoint/onnx/tensor.js';
import { writeModel } from '../checkpoint/onnx/model.js';
import { outputSignals } from '../checkpoint/onnx/outputSignals.js';
import { outputLayers, parameterCount, type RecurrentNetwork } from '../network/network.js';
import type { MeasuredCurve } from '../measurement/measuredCurve.js';
import { statisticalLength } from '../measurement/statisticalLength.js';
import type { Diagnostic, StabilityReport, StreamingReport } from '../report/report.js';
import { stateInWords } from '../report/words.js';
import { proposedLength } from '../report/proposedLength.js';
import type { InferenceRuntime } from '../runtime/inference.js';
import { comparisonName } from '../stability/certificates/comparison.js';
import { smallestLength, type ErrorCurve } from '../stability/errorCurve.js';
import { rangeOfSamples } from '../stability/sampleRange.js';
import { defaultInputRange, largestValue, rangeHull, type InputRange } from '../stability/networkBounds.js';
import { BadInputError } from '../errors.js';
import { streamedNetwork, uncoveredState } from '../streaming/coverage.js';
import { replayStream } from '../streaming/replayStream.js';
import { measureSensitivity } from '../streaming/sensitivity.js';
import { stateSignals } from '../streaming/stateSignals.js';
import { initialState, StateMap } from '../streaming/stateMap.js';
import type { StreamingModel } from '../streaming/streamingModel.js';
import { sampleStreams, syntheticStreams, type Stream } from '../streaming/streams.js';
import { measureTruncation } from '../streaming/truncationCurve.js';
import { withoutState } from '../truncation/streaming.js';
import { compareStreams } from '../truncation/verifyStream.js';
import { boundStateMap } from '../stability/stateMapBounds.js';
import { analyse, drive, outputCurve, type Analysis } from './analyse.js';
import type { CheckOptions, Progress } from './jobs.js';
import { noSamplesForRange, sampleRangeDiagnostic } from './data.js';
import { growthReport, mergeCurves, sampleDiagnostics } from './curveReport.js';
import type { FoundSamples } from './samples.js';
import { searching, searchWitness, witnessDiagnostic } from './witness.js';
import { decideVerdict, summarise, verdictDiagnostic, type Findings } from './verdict.js';

/** Streams that stand in where there are no samples: fewer than sequences elsewhere, because every frame is a run of the model. */
const synthetic = { sequences: 6, extraFrames: 32, seed: 20180525 };

/** A stateless model with more nodes than this is not built just to be timed. */
const mostTimedNodes = 20_000;

export interface StreamCheckpoint extends OpenedCheckpoint {
  readonly streaming: StreamingModel;
}

/** A checked streaming model, with what an export needs from the check. */
export interface CheckedStream {
  readonly report: StabilityReport;
  readonly checkpoint: StreamCheckpoint;
  readonly streams: readonly Stream[];
  readonly source: 'samples' | 'synthetic';
  /** The range that certificates are for. */
  readonly range: InputRange;
}

export function standInStreams(streaming: StreamingModel, range: InputRange, longest: number): Stream[] {
  return syntheticStreams(streaming, range, synthetic.sequences, longest + synthetic.extraFrames, synthetic.seed);
}

/** The check of a model that computes one frame per call. */
export async function checkStream(
  file: string,
  checkpoint: StreamCheckpoint,
  samples: FoundSamples | null,
  options: CheckOptions,
  runtime: InferenceRuntime,
  progress: Progress,
): Promise<CheckedStream> {
  const { streaming, onnx } = checkpoint;
  const given = samples && sampleStreams(streaming, samples.arrays, samples.name);
  const range = statedRange(streaming, options, given);
  const network = await streamedNetwork(streaming, onnx, runtime);
  const uncovered = await uncoveredState(streaming, onnx, runtime);
  const analysis =
    network.layers.length > 0 ? await analyse(network, range, options, (step, f) => progress(step, 0.05 + 0.2 * f)) : null;
  const whole =
    uncovered === null
      ? null
      : await boundWhole(streaming, range, options, (f) => progress('Certifying the state map', 0.25 + 0.05 * f));
  const notCertified = whole === null || typeof whole !== 'string' ? null : `${uncovered}, and ${whole}`;
  const proven = uncovered === null ? analysis : null;

  const streams = given ?? standInStreams(streaming, range, options.maxLength);
  const source = samples ? ('samples' as const) : ('synthetic' as const);
  const measuring = (f: number) => progress('Measuring the truncation error', 0.3 + 0.4 * f);
  // Where a bound of h falls the measured curve is of h too, for the two to be compared; else of what the user gets.
  const ofRecurrent = options.at === 'recurrent' && falls(proven?.curve.bound ?? null);
  const measured = await measure(checkpoint, ofRecurrent, streams, options, runtime, measuring);
  const diverges = !measured.error.worst.every(Number.isFinite);
  const curve = diverges ? null : measured.error;
  const statistical = samples && curve ? statisticalLength(curve, options.epsilon, options.quantile, options.confidence) : null;
  await progress('Measuring how errors grow', 0.7);
  const sensitivity = diverges
    ? null
    : await sensitivityOf(streaming, streams, runtime, () => progress('Measuring how errors grow', 0.75));

  const map = typeof whole === 'string' ? null : whole;
  const lambda = (proven ?? map)?.lambda ?? Infinity;
  const searchProgress = searching(progress, 0.75, 0.85);
  const witness =
    !analysis || analysis.lambda < 1
      ? null
      : await searchWitness({
          network,
          bounds: analysis.bounds,
          range,
          epsilon: options.epsilon,
          replay:
            proven &&
            ((system, histories, steps) => replayStream(streaming, onnx, system, histories, steps, runtime, searchProgress)),
          progress: searchProgress,
        });
  const atOutputs =
    proven && options.at === 'output' ? await streamOutputCurve(checkpoint, network, range, proven, options.maxLength) : null;
  const bounds = (ofRecurrent ? proven?.curve : (map?.curve ?? atOutputs)) ?? { k: measured.error.k, bound: null };
  const findings: Findings = {
    lambda,
    rangeFromSamples: options.inputRange === 'samples',
    certifiedHolds: lambda < 1,
    certifiedLength: bounds.bound && smallestLength(bounds.k, bounds.bound, options.epsilon),
    epsilon: options.epsilon,
    maxLength: options.maxLength,
    statistical,
    quantile: options.quantile,
    confidence: options.confidence,
    measured: curve && { ...curve, source },
    fixedLength: null,
    diverges,
    witness,
  };
  const { verdict, safeLength } = decideVerdict(findings);
  const summary = summarise(findings, verdict, safeLength);
  const merged = mergeCurves(bounds, curve, source, options.quantile);
  const partial: StabilityReport = {
    schemaVersion: 1,
    file,
    format: 'onnx',
    model: {
      producer: [onnx.model.producerName, onnx.model.producerVersion].filter((s) => s !== '').join(' '),
      opset: onnx.opset,
      bytes: checkpoint.bytes,
      parameters: parameterCount(network),
    },
    verdict,
    summary,
    epsilon: options.epsilon,
    inputRange: {
      ...rangeHull(range),
      source: options.inputRange === 'samples' ? 'samples' : options.inputRange ? 'user' : 'default',
    },
    safeLength,
    lambda: Number.isFinite(lambda) ? lambda : null,
    lambdaLowerBound: proven?.lambdaLowerBound ?? null,
    curve: merged,
    layers: [...(analysis?.layers ?? [])],
    ...(witness ? { witness } : {}),
    diagnostics: [
      verdictDiagnostic(verdict, summary),
      ...witnessDiagnostic(witness),
      streamingDiagnostic(streaming, notCertified, map !== null),
      ...streaming.assumptions.map((a) => ({ ...a, severity: 'information' as const })),
      ...(options.inputRange ? [] : [assumedRange]),
      ...(options.inputRange === 'samples' ? [sampleRangeDiagnostic(samples!.name)] : []),
      ...sampleDiagnostics(statistical, options, samples?.name ?? null, curve),
    ],
  };
  await progress('Timing a model without state', 0.9);
  const streamingReport: StreamingReport = {
    frames: streaming.frames.map((f) => ({ name: f.name, shape: [...f.dims] })),
    states: streaming.states.map((s) => ({ input: s.input, output: s.output, shape: [...s.dims], kind: s.kind, of: [...s.of] })),
    errorOf: ofRecurrent ? 'recurrent' : 'outputs',
    outputMeasured: diverges ? null : atLengths(merged.k, measured.outputs),
    certificate: map && {
      name: comparisonName,
      norm: 'weighted max-norm',
      lambda: Number.isFinite(map.lambda) ? map.lambda : null,
      holds: map.lambda < 1,
      length: map.curve.bound && smallestLength(map.curve.k, map.curve.bound, options.epsilon),
    },
    notCertified,
    jacobian: sensitivity?.jacobian ?? null,
    cost: await costOf(checkpoint, partial, streams, runtime),
  };
  await progress('Done', 1);
  const data = sensitivity && { source, ...growthReport(sensitivity.exponent, sensitivity.standardError), layers: [] };
  const report = { ...partial, streaming: streamingReport, ...(data ? { data } : {}) };
  return { report, checkpoint, streams, source, range };
}

/** A bound that only says how large h can be says nothing of forgetting. */
function falls(bound: readonly number[] | null): boolean {
  return bound !== null && bound.at(-1)! < bound[0]!;
}

/** @throws BadInputError when the range is to come from samples and there are none */
function statedRange({ frames }: StreamingModel, { inputRange }: CheckOptions, samples: readonly Stream[] | null): InputRange {
  if (inputRange !== 'samples') return inputRange ?? defaultInputRange;
  if (!samples) throw noSamplesForRange();
  return rangeOfSamples(frames.map(({ name }) => [name, samples.flatMap((s) => s.map((frame) => frame.get(name)!))]));
}

const assumedRange: Diagnostic = {
  code: 'default-input-range',
  severity: 'hint',
  message:
    'The graph does not say which values its inputs take, so [-1, 1] is assumed. State the range of your data; certificates hold for that range only.',
};

function streamingDiagnostic(streaming: StreamingModel, notCertified: string | null, whole: boolean): Diagnostic {
  const states = streaming.states.map((s) => stateInWords({ ...s, shape: [...s.dims], of: [...s.of] })).join('; ');
  const certified =
    notCertified === null
      ? whole
        ? 'Interval bounds over all of its graph bound its error.'
        : 'The certificates of its layers are those of the stream.'
      : `No certificate covers the carried state: ${notCertified}. Its truncation error is measured by running it.`;
  const what = streaming.loop
    ? `What recurs is ${streaming.loop}, whose body is no cell that is known. It is run one step at a time, which gives the same answer; from step to step it carries ${states}.`
    : `This is a streaming model: it computes one frame per call, and the caller feeds back ${states}.`;
  return { code: 'streaming-model', severity: 'information', message: `${what} ${certified}` };
}

/** Bounds of the state map as a whole, with its certified curve at the outputs; else the reason why there are none, in words. */
async function boundWhole(
  streaming: StreamingModel,
  range: InputRange,
  { maxLength }: CheckOptions,
  report: (fraction: number) => Promise<void>,
): Promise<{ lambda: number; curve: ErrorCurve } | string> {
  const signals = stateSignals(streaming);
  if (typeof signals === 'string') return `its graph is not understood beyond ${signals}`;
  const bounds = await drive(boundStateMap(signals.next, signals.outputs, initialState(streaming), range, maxLength), report);
  if (!bounds) return 'no finite box was found that the state cannot leave';
  return {
    lambda: bounds.lambda,
    curve: { k: Array.from({ length: maxLength + 1 }, (_, k) => k), bound: bounds.bound && [...bounds.bound] },
  };
}

/** The certified curve at the outputs of a stream; without a frame there is no answer, which counts as zero. */
async function streamOutputCurve(
  { streaming, onnx }: StreamCheckpoint,
  network: RecurrentNetwork,
  range: InputRange,
  analysis: Analysis,
  maxLength: number,
): Promise<ErrorCurve> {
  const results = new Set(streaming.outputs.filter((o) => isFloat(o.type)).map((o) => o.name));
  const outputs = outputSignals(onnx).filter((o) => results.has(o.name));
  const curve = await outputCurve(network, outputs, range, analysis, maxLength);
  // An output that does not depend on the layers has no signal to bound it with.
  const all = outputs.length === results.size;
  const nothing = all ? Math.max(...outputs.map((o) => largestValue(o.signal, analysis.bounds, range))) : Infinity;
  if (!Number.isFinite(nothing)) return { ...curve, bound: null };
  return { ...curve, bound: curve.bound && [nothing, ...curve.bound.slice(1)] };
}

/** Curves of the model's outputs, and of what the certificates speak of. */
async function measure(
  { streaming, onnx }: StreamCheckpoint,
  covered: boolean,
  streams: readonly Stream[],
  options: CheckOptions,
  runtime: InferenceRuntime,
  yieldTo: (fraction: number) => Promise<void>,
): Promise<{ outputs: MeasuredCurve; error: MeasuredCurve }> {
  const outputs = streaming.outputs.filter((o) => isFloat(o.type));
  const layers = covered ? outputLayers(onnx.network).map((i) => onnx.nodes[i]!) : [];
  const recurrent = layers.map((n) => (n.y === '' ? n.yH : n.y));
  const sizes = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);
  const groups = [sizes(outputs.map((o) => elementCount(o.dims))), sizes(layers.map((n) => n.hiddenSize))].filter((n) => n > 0);
  const map = await StateMap.load(streaming, [...outputs.map((o) => o.name), ...recurrent], runtime);
  try {
    const curves = await measureTruncation(map, streams, options.maxLength, groups, yieldTo);
    return { outputs: curves[0]!, error: curves[curves.length - 1]! };
  } finally {
    await map.release();
  }
}

async function sensitivityOf(
  streaming: StreamingModel,
  streams: readonly Stream[],
  runtime: InferenceRuntime,
  yieldTo: () => Promise<void>,
) {
  const map = await StateMap.load(streaming, [], runtime);
  try {
    return await measureSensitivity(map, streams, yieldTo);
  } finally {
    await map.release();
  }
}

function atLengths(k: readonly number[], curve: MeasuredCurve): number[] {
  const values = new Map(curve.k.map((length, i) => [length, curve.worst[i]!]));
  const reached = k.findIndex((length) => !values.has(length));
  return k.slice(0, reached < 0 ? k.length : reached).map((length) => values.get(length)!);
}

/** What a stateless model of the proposed length costs; null where no length is proposed or the model would be huge. */
async function costOf(
  { streaming, onnx }: StreamCheckpoint,
  report: StabilityReport,
  streams: readonly Stream[],
  runtime: InferenceRuntime,
): Promise<StreamingReport['cost']> {
  const { length: k, basis } = proposedLength(report);
  const settled = report.curve.measured && smallestLength(report.curve.k, report.curve.measured, report.epsilon);
  if (basis === 'longest' || (report.safeLength === null && settled === null)) return null;
  const long = streams.filter((s) => s.length >= k).slice(0, 2);
  if (long.length === 0) return null;
  try {
    const stateless = withoutState(streaming, onnx, k);
    const nodes = stateless.model.graph.node.length;
    if (nodes > mostTimedNodes) return null;
    const times = await compareStreams(
      streaming,
      stateless,
      long.map((s) => s.slice(0, k + 8)),
      runtime,
      () => Promise.resolve(),
    );
    return {
      k,
      nodes,
      bytes: writeModel(stateless.model).length,
      originalMilliseconds: times.originalMilliseconds,
      statelessMilliseconds: times.statelessMilliseconds,
      stateBytes: streaming.states.reduce((sum, s) => sum + 4 * elementCount(s.dims), 0),
    };
  } catch (error) {
    // What cannot be exported has no cost; the export says why.
    if (error instanceof BadInputError) return null;
    throw error;
  }
}
