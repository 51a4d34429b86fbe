import type { OnnxCheckpoint } from '../checkpoint/onnx/reader.js';
import { BadInputError } from '../errors.js';
import { alongData, type LayerAlongData } from '../measurement/alongData.js';
import { measureCurve, type MeasuredCurve, type Measurement } from '../measurement/measuredCurve.js';
import { outputHead } from '../measurement/outputHead.js';
import { planMeasurement } from '../measurement/plan.js';
import type { SourceSequence } from '../measurement/sequences.js';
import { quantileOf, statisticalLength, type StatisticalLength } from '../measurement/statisticalLength.js';
import { searchWorst } from '../measurement/worstSearch.js';
import type { RecurrentNetwork } from '../network/network.js';
import { formatNumber } from '../report/format.js';
import type { AlongData, Diagnostic } from '../report/report.js';
import type { InferenceRuntime } from '../runtime/inference.js';
import type { InputAxes } from '../samples/modelInputs.js';
import { smallestLength } from '../stability/errorCurve.js';
import { anyInput, defaultInputRange, sourceBox } from '../stability/networkBounds.js';
import { drive } from './analyse.js';
import type { Data } from './data.js';
import { growthReport } from './curveReport.js';
import type { CheckOptions } from './jobs.js';

/** What the sequences of a check show. */
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
  const normsOf = ({ jacobianNorms: norms }: LayerAlongData) =>
    norms.length === 0
      ? null
      : { median: quantileOf(norms, 0.5), quantile: quantileOf(norms, quantile), largest: norms.at(-1)!, steps: norms.length };
  const slowest = layers.reduce((a, b) => (b.exponent > a.exponent ? b : a));
  const growth = (layer: LayerAlongData) => growthReport(layer.exponent, layer.standardError);
  return {
    source,
    ...growth(slowest),
    layers: layers.map((layer, i) => ({
      name: network.layers[i]!.name,
      lyapunovExponent: growth(layer).lyapunovExponent,
      lyapunovError: growth(layer).lyapunovError,
      jacobianNorm: normsOf(layer),
      // Moved at the longest length that was measured: the memory ends somewhere behind it.
      unitMemory: Array.from(lastMoved[i]!, (k) => (k >= longest ? null : nextLength(recurrent.k, k))),
    })),
  };
}

/** The next longer length that was measured. */
function nextLength(lengths: readonly number[], k: number): number {
  return lengths[lengths.indexOf(k) + 1]!;
}
