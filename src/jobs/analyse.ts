import type { RecurrentNetwork } from '../network/network.js';
import { directionName } from '../network/network.js';
import type { Certificate, LayerReport } from '../report/report.js';
import { perronNorm, stackLambda } from '../stability/comparison.js';
import { errorCurve, type ErrorCurve } from '../stability/errorCurve.js';
import { jacobianLowerBound } from '../stability/lowerBound.js';
import { millerHardtLstm, millerHardtRnn } from '../stability/millerHardt.js';
import { boundNetwork, type InputRange, type LayerBounds } from '../stability/networkBounds.js';
import type { Progress } from './jobs.js';

/** Everything that is proven about a network for one input range. */
export interface Analysis {
  readonly bounds: readonly LayerBounds[];
  readonly layers: readonly LayerReport[];
  /** Certified contraction constant of one step of the whole stack; Infinity when there is none. */
  readonly lambda: number;
  readonly lambdaLowerBound: number | null;
  readonly curve: ErrorCurve;
}

/** The certificates of one layer: the worse of its two directions where there are two. */
function* certify(network: RecurrentNetwork, index: number, bounds: LayerBounds): Generator<number, LayerReport> {
  const layer = network.layers[index]!;
  const lambda = Math.max(...bounds.directions.map((d) => perronNorm((v) => d.compare(v, null), d.state.lower.length).lambda));
  const comparison: Certificate = {
    name: 'comparison-operator',
    norm: 'weighted max-norm',
    lambda: Number.isFinite(lambda) ? lambda : null,
    holds: lambda < 1,
  };
  const published = layer.directions
    .map(({ cell }) =>
      cell.kind === 'rnn' ? millerHardtRnn(cell) : cell.kind === 'lstm' ? millerHardtLstm(cell, bounds.input) : null,
    )
    .filter((c) => c !== null);
  const certificates = [comparison, ...(published.length > 0 ? [worst(published)] : [])];
  const lambdas = certificates.flatMap((c) => (c.lambda === null ? [] : [c.lambda]));
  const lower: number[] = [];
  for (const [d, { cell }] of layer.directions.entries()) {
    lower.push(yield* jacobianLowerBound(cell, bounds.input, bounds.directions[d]!.state));
  }
  return {
    name: layer.name,
    cell: layer.kind,
    direction: directionName(layer),
    inputSize: layer.inputSize,
    hiddenSize: layer.hiddenSize,
    lambda: lambdas.length > 0 ? Math.min(...lambdas) : null,
    lambdaLowerBound: Math.max(...lower),
    certificates,
  };
}

function worst(certificates: readonly Certificate[]): Certificate {
  return certificates.reduce((a, b) => (!a.holds || (b.holds && (a.lambda ?? 0) >= (b.lambda ?? 0)) ? a : b));
}

/** Runs a generator to its end, reporting the fractions it yields. */
export async function drive<T>(run: Generator<number, T>, report: (fraction: number) => Promise<void>): Promise<T> {
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

export async function analyse(
  network: RecurrentNetwork,
  range: InputRange,
  maxLength: number,
  progress: Progress,
): Promise<Analysis> {
  const bounds: LayerBounds[] = [];
  const reports: LayerReport[] = [];
  for (const layerBounds of boundNetwork(network, range)) {
    const index = bounds.length;
    const certifying = (f: number) =>
      progress(`Certifying ${network.layers[index]!.name}`, (0.5 * (index + f)) / network.layers.length);
    await certifying(0);
    bounds.push(layerBounds);
    reports.push(await drive(certify(network, index, layerBounds), certifying));
  }
  const curve = await drive(errorCurve(network, bounds, maxLength), (f) =>
    progress('Bounding the truncation error', 0.5 + f / 2),
  );
  const lambda = stackLambda(
    bounds,
    reports.map((r) => r.lambda ?? Infinity),
  );
  const lowers = reports.map((r) => r.lambdaLowerBound);
  return {
    bounds,
    layers: reports,
    lambda,
    lambdaLowerBound: lowers.some((v) => v === null) ? null : Math.max(...(lowers as number[])),
    curve,
  };
}
