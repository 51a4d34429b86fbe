import { openCheckpoint, type OpenedCheckpoint } from '../checkpoint/open.js';
import { replaySequence } from '../measurement/replaySequence.js';
import { parameterCount, type RecurrentNetwork } from '../network/network.js';
import { walkSignal } from '../network/signal.js';
import type { Diagnostic, LayerReport, StabilityReport } from '../report/report.js';
import type { InferenceRuntime } from '../runtime/inference.js';
import { readModelInputs, type InputAxes, type InputBatch } from '../samples/modelInputs.js';
import type { Box } from '../stability/interval.js';
import { atLengths, smallestLength, type ErrorCurve } from '../stability/errorCurve.js';
import { anyInput, freeSources, sourceBox, type InputRange } from '../stability/networkBounds.js';
import { analyse, outputCurve } from './analyse.js';
import { readData, sampleRangeDiagnostic, type Data } from './data.js';
import type { CheckOptions, CheckpointFiles, Progress } from './jobs.js';
import { measure } from './measure.js';
import { findSamples } from './samples.js';
import { mergeCurves, sampleDiagnostics } from './curveReport.js';
import { checkStream, type CheckedStream } from './stream.js';
import { searching, searchWitness, witnessDiagnostic } from './witness.js';
import { decideVerdict, summarise, verdictDiagnostic, type Findings } from './verdict.js';

/** A checked checkpoint, with what an export needs from the check. */
export interface Checked {
  readonly report: StabilityReport;
  readonly checkpoint: OpenedCheckpoint;
  readonly axes: InputAxes;
  readonly batch: InputBatch;
  readonly source: 'samples' | 'synthetic';
  /** The range that certificates are for. */
  readonly range: InputRange;
}

/** The stated range, and what of it the report says. */
function statedRange(
  network: RecurrentNetwork,
  options: CheckOptions,
  range: InputRange,
  input: Box,
): StabilityReport['inputRange'] {
  const free = freeSources(network);
  if (free.length === 0 || range === anyInput) return { lower: [...input.lower], upper: [...input.upper], source: 'derived' };
  const source = options.inputRange === undefined ? 'default' : options.inputRange === 'samples' ? 'samples' : 'user';
  if (!range.sources && typeof range.lower === 'number') return { lower: range.lower, upper: range.upper as number, source };
  const boxes = free.map(({ name, size }) => sourceBox(range, name, size));
  return { lower: boxes.flatMap((b) => [...b.lower]), upper: boxes.flatMap((b) => [...b.upper]), source };
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
      if (!s.recurrent && (s.range !== null || s.within)) return;
      seen.add(s.name);
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

  await progress('Reading the samples', 0.02);
  const data = await readData(checkpoint.onnx, axes, files, options, runtime);
  // A model of a fixed length has no longer context than that, and with all of it nothing is truncated.
  const fixedLength = axes.time;
  const maxLength = Math.min(options.maxLength, fixedLength ?? Infinity);
  const analysis = await analyse(network, data.range, { epsilon: options.epsilon, maxLength }, (step, f) =>
    progress(step, 0.05 + 0.45 * f),
  );
  const place =
    options.at === 'output' ? await outputCurve(network, data.outputs, data.range, analysis, maxLength) : analysis.curve;
  const curve = maxLength === fixedLength ? exactAtTheEnd(place) : place;

  const certifiedLength = curve.bound && smallestLength(curve.k, curve.bound, options.epsilon);

  const certifiedHolds = analysis.lambda < 1 || paperHolds(analysis.layers);
  // A certificate leaves nothing to look for, and within a fixed length nothing stays apart for ever.
  const witness =
    certifiedHolds || certifiedLength !== null || fixedLength !== null
      ? null
      : await searchWitness({
          network,
          bounds: analysis.bounds,
          range: data.range,
          epsilon: options.epsilon,
          replay: (system, histories, steps) => replaySequence(checkpoint.onnx, axes, system, histories, steps, runtime),
          progress: searching(progress, 0.5, 0.6),
        });

  await progress('Measuring the truncation error', 0.6);
  const measured = await measure(checkpoint.onnx, axes, data, maxLength, certifiedLength, options, runtime, (f) =>
    progress('Measuring the truncation error', 0.6 + 0.4 * f),
  );
  const { statistical, diverges } = measured;
  const { source } = data;
  const batch = data.batches.reduce((a, b) => (b.steps > a.steps ? b : a));

  const inputRange = statedRange(network, options, data.range, analysis.bounds[0]!.input);
  const findings: Findings = {
    lambda: analysis.lambda,
    rangeFromSamples: inputRange.source === 'samples',
    certifiedHolds,
    certifiedLength,
    epsilon: options.epsilon,
    maxLength,
    statistical,
    quantile: options.quantile,
    confidence: options.confidence,
    measured: measured.curve && { ...measured.curve, source },
    fixedLength,
    diverges,
    witness,
  };
  const { verdict, safeLength } = decideVerdict(findings);
  const summary = summarise(findings, verdict, safeLength);
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
    ...(options.at === 'output' ? { at: options.at } : {}),
    curve: {
      ...mergeCurves(curve, measured.curve, source, options.quantile),
      ...(options.at === 'output'
        ? { recurrent: mergeCurves(atLengths(analysis.curve, curve.k), measured.recurrent, source, options.quantile) }
        : {}),
    },
    layers: analysis.layers.map((layer) => ({ ...layer, ...placed(layer.name) })),
    ...(measured.along ? { data: measured.along } : {}),
    ...(witness ? { witness } : {}),
    diagnostics: [
      verdictDiagnostic(verdict, summary),
      ...witnessDiagnostic(witness),
      ...inputDiagnostics(network, inputRange),
      ...(inputRange.source === 'samples' ? [sampleRangeDiagnostic(data.name!)] : []),
      ...outputDiagnostics(options, data),
      ...data.diagnostics,
      ...measured.diagnostics,
      ...sampleDiagnostics(statistical, options, data.name, measured.curve),
      // The verdict speaks of all layers and stands at the first.
    ].map((d, i) => ({ ...d, ...placed(i === 0 ? network.layers[0]!.name : d.layer) })),
  };
  await progress('Done', 1);
  return { report, checkpoint, axes, batch, source, range: data.range };
}

function outputDiagnostics({ at }: CheckOptions, { outputs }: Data): Diagnostic[] {
  if (at !== 'output') return [];
  return outputs.flatMap(({ name, blockedBy }): Diagnostic[] =>
    blockedBy === null
      ? []
      : [
          {
            code: 'output-not-bounded',
            severity: 'warning',
            message: `Output ${name} depends on the recurrent layers through ${blockedBy}, whose effect on an error is not known: there is no certified bound at the model's outputs.`,
          },
        ],
  );
}

function exactAtTheEnd(curve: ErrorCurve): ErrorCurve {
  return { ...curve, bound: curve.bound && [...curve.bound.slice(0, -1), 0] };
}

/** A stack is stable by the paper's conditions when every layer meets them. */
function paperHolds(layers: readonly LayerReport[]): boolean {
  return layers.length === 1 && layers[0]!.certificates.some((c) => c.name === 'miller-hardt' && c.holds);
}

export async function check(
  files: CheckpointFiles,
  options: CheckOptions,
  runtime: InferenceRuntime,
  progress: Progress,
): Promise<StabilityReport> {
  return (await runCheck(files, options, runtime, progress)).report;
}
