import type { OutputSignal } from '../checkpoint/onnx/outputSignals.js';
import type { RecurrentLayer, RecurrentNetwork } from '../network/network.js';
import { directionName } from '../network/network.js';
import type { Certificate, LayerReport } from '../report/report.js';
import type { CellBounds } from '../stability/cellBounds.js';
import type { CellCertificate, Contraction } from '../stability/certificates/certificate.js';
import { comparisonName, stackLambda } from '../stability/certificates/comparison.js';
import { certificatesOf } from '../stability/certificates/family.js';
import { curveLengths, errorCurve, lengthOf, type Contractions, type ErrorCurve } from '../stability/errorCurve.js';
import { jacobianLowerBound } from '../stability/lowerBound.js';
import { boundLayer, outputBox, outputDeviation, type InputRange, type LayerBounds } from '../stability/networkBounds.js';
import type { Progress } from './jobs.js';

/** Everything that is proven about a network for one input range. */
export interface Analysis {
  readonly bounds: readonly LayerBounds[];
  readonly layers: readonly LayerReport[];
  /** Certified contraction constant of one step of the whole stack; Infinity when there is none. */
  readonly lambda: number;
  readonly lambdaLowerBound: number | null;
  /** What was proven of every direction of every layer, for the curve. */
  readonly contractions: Contractions;
  readonly curve: ErrorCurve;
}

/** What to certify: the error and the longest length that `lengthOf` looks for. */
export interface AnalysisOptions {
  readonly epsilon: number;
  readonly maxLength: number;
}

/** One certificate of a direction, with the length that it gives. */
interface Judged extends CellCertificate {
  readonly length: number | null;
}

/** Certificates of one direction of a layer, each with the length that it certifies alone, and the bounds that they hold for. */
function* certify(
  layer: RecurrentLayer,
  d: number,
  layerBounds: LayerBounds,
  options: AnalysisOptions,
): Generator<unknown, { bounds: CellBounds; judged: Judged[] }> {
  const { cell, initialState } = layer.directions[d]!;
  const { bounds, certificates } = yield* certificatesOf(cell, layerBounds.directions[d]!, layerBounds.input, initialState);
  const judged: Judged[] = [];
  for (const certificate of certificates) {
    const { contraction, report } = certificate;
    // The comparison operator takes part in every length; its own needs nothing else.
    const used = contraction && report.name !== comparisonName ? [contraction] : [];
    const length = contraction && (yield* lengthOf(bounds, used, initialState, layer.hiddenSize, options));
    judged.push({ ...certificate, length });
  }
  return { bounds, judged };
}

/** The smaller length wins, then the smaller λ. */
const isBetter = (a: Certificate, b: Certificate) =>
  a.length! < b.length! || (a.length === b.length && (a.lambda ?? 1) < (b.lambda ?? 1));

const largestOrNull = (values: readonly (number | null)[]): number | null =>
  values.some((v) => v === null) ? null : Math.max(...(values as number[]));

/** The certificates of a layer: what both directions have, where there are two. */
function layerReport(layer: RecurrentLayer, directions: readonly (readonly Judged[])[], lower: number | null): LayerReport {
  const certificates: Certificate[] = directions[0]!.flatMap((first) => {
    const same = directions.map((d) => d.find((c) => c.report.name === first.report.name));
    if (same.some((c) => c === undefined)) return [];
    const all = same as Judged[];
    // The condition that is shown belongs to the direction that fares worse.
    const worst = all.reduce((a, b) =>
      !a.report.holds || (b.report.holds && (a.report.lambda ?? 0) >= (b.report.lambda ?? 0)) ? a : b,
    );
    return [
      {
        ...worst.report,
        lambda: largestOrNull(all.map((c) => c.report.lambda)),
        holds: all.every((c) => c.report.holds),
        length: largestOrNull(all.map((c) => c.length)),
      },
    ];
  });
  // A number below one counts only where it was proven.
  const lambdas = certificates.flatMap((c) => (c.lambda !== null && (c.holds || c.lambda >= 1) ? [c.lambda] : []));
  const best = certificates
    .filter((c) => c.holds && c.length !== null)
    .reduce<Certificate | null>((a, b) => (a && !isBetter(b, a) ? a : b), null);
  return {
    name: layer.name,
    cell: layer.kind,
    direction: directionName(layer),
    inputSize: layer.inputSize,
    hiddenSize: layer.hiddenSize,
    lambda: lambdas.length > 0 ? Math.min(...lambdas) : null,
    lambdaLowerBound: lower,
    certificates,
    certifiedBy: best?.name ?? null,
  };
}

/** Runs a generator to its end, reporting the fractions it yields. */
export async function drive<T, Step>(run: Generator<Step, T>, report: (step: Step) => Promise<void>): Promise<T> {
  let last = performance.now();
  for (;;) {
    const next = run.next();
    if (next.done) return next.value;
    // A report may wait for messages, so it is made a few times a second, not at every step.
    if (performance.now() - last > 50) {
      await report(next.value);
      last = performance.now();
    }
  }
}

/** The certified curve at the model's own outputs; without a bound where the layers' outputs cannot be followed to one of them. */
export async function outputCurve(
  network: RecurrentNetwork,
  outputs: readonly OutputSignal[],
  range: InputRange,
  { bounds, contractions }: Analysis,
  maxLength: number,
): Promise<ErrorCurve> {
  if (outputs.length === 0 || outputs.some((o) => o.blockedBy !== null))
    return { k: curveLengths(network, true, maxLength), bound: null };
  const signals = outputs.map((o) => o.signal);
  const deviation = outputDeviation(signals, bounds, range);
  return drive(errorCurve(network, bounds, contractions, maxLength, deviation), () => Promise.resolve());
}

export async function analyse(
  network: RecurrentNetwork,
  range: InputRange,
  options: AnalysisOptions,
  progress: Progress,
): Promise<Analysis> {
  const bounds: LayerBounds[] = [];
  const reports: LayerReport[] = [];
  const contractions: Contraction[][][] = [];
  const steps = network.layers.reduce((sum, layer) => sum + layer.directions.length, 0);
  let done = 0;
  for (const layer of network.layers) {
    const report = () => progress(`Certifying ${layer.name}`, (0.7 * done) / steps);
    await report();
    const box = boundLayer(layer, bounds, range);
    const certified = [];
    for (const d of layer.directions.keys()) {
      certified.push(await drive(certify(layer, d, box, options), report));
      done++;
    }
    const directions = certified.map((d) => d.bounds);
    bounds.push({ ...box, directions, output: outputBox(layer, directions) });
    const lower = [];
    for (const [d, { cell }] of layer.directions.entries()) {
      lower.push(await drive(jacobianLowerBound(cell, box.input, directions[d]!), report));
    }
    const judged = certified.map((d) => d.judged);
    reports.push(layerReport(layer, judged, Math.max(...lower)));
    contractions.push(judged.map((d) => d.flatMap((c) => c.contraction ?? [])));
  }
  const curve = await drive(errorCurve(network, bounds, contractions, options.maxLength), (f) =>
    progress('Bounding the truncation error', 0.7 + 0.3 * f),
  );
  return {
    bounds,
    layers: reports,
    lambda: stackLambda(
      bounds,
      reports.map((r) => r.lambda ?? Infinity),
    ),
    lambdaLowerBound: largestOrNull(reports.map((r) => r.lambdaLowerBound)),
    contractions,
    curve,
  };
}
