import { writeModel } from '../checkpoint/onnx/model.js';
import { BadInputError } from '../errors.js';
import type { StabilityReport } from '../report/report.js';
import { formatNumber } from '../report/format.js';
import type { Verification } from '../report/verification.js';
import type { InferenceRuntime } from '../runtime/inference.js';
import type { InputBatch } from '../samples/modelInputs.js';
import { smallestLength } from '../stability/errorCurve.js';
import { compareWithOriginal, type Comparison } from '../truncation/verify.js';
import { placementOf, PositionUses } from '../truncation/placement.js';
import { describeInMetadata, truncateToWindow } from '../truncation/window.js';
import { runCheck, type Checked } from './check.js';
import { standIn } from './data.js';
import type { CheckpointFiles, ExportOptions, ExportResult, Progress } from './jobs.js';

interface Choice {
  readonly k: number;
  readonly basis: Verification['basis'];
}

/** A length that was asked for is as good as the safe one where the same proof or the same samples cover it. */
function basisOf(report: StabilityReport, k: number): Choice['basis'] {
  const safe = report.safeLength;
  if (!safe || k < safe.k) return 'user';
  if (safe.basis === 'samples') return 'samples';
  return (boundAt(report, k) ?? Infinity) <= report.epsilon ? 'certified' : 'user';
}

/** @throws BadInputError when nothing suggests a length */
function chooseLength(options: ExportOptions, { report, axes, checkpoint: { onnx } }: Checked): Choice {
  const whole = (k: number) => axes.time !== null && k >= axes.time;
  if (options.length !== 'auto') {
    const k = options.length;
    return { k, basis: whole(k) ? 'full' : basisOf(report, k) };
  }
  // A shorter window than asked for would be refused; left to itself, the whole sequence is exact.
  if (axes.time !== null && placementOf(onnx, new PositionUses(onnx)).kind === 'whole') return { k: axes.time, basis: 'full' };
  if (report.safeLength) {
    const k = Math.max(1, report.safeLength.k);
    return { k, basis: whole(k) ? 'full' : report.safeLength.basis };
  }
  if (axes.time !== null) return { k: axes.time, basis: 'full' };
  const { k: lengths, measured, measuredOn } = report.curve;
  const suggested = measured && measuredOn?.source === 'synthetic' ? smallestLength(lengths, measured, report.epsilon) : null;
  if (suggested !== null) return { k: Math.max(1, suggested), basis: 'synthetic' };
  throw new BadInputError(
    'no-safe-length',
    `no length up to ${report.curve.k[report.curve.k.length - 1] ?? 0} keeps the error below ${formatNumber(report.epsilon)}, certified or measured; ` +
      'state one with --length, allow a larger --epsilon, or raise --max-length',
  );
}

/**
 * Certified bound at k; null where the curve does not hold k. A shorter length's bound will not do: the curve can rise, since
 * it starts from the distance to the initial state, which two later states may exceed.
 */
function boundAt(report: StabilityReport, k: number): number | null {
  const index = report.curve.k.indexOf(k);
  return index < 0 ? null : (report.curve.bound?.[index] ?? null);
}

const basisInWords: Record<Verification['basis'], string> = {
  certified: 'certified',
  samples: 'measured on your samples',
  synthetic: 'measured on synthetic input only, no guarantee',
  full: 'the whole sequence, nothing truncated',
  user: 'as you asked',
};

function summarise(
  k: number,
  basis: Verification['basis'],
  c: Comparison,
  bound: number | null,
  passed: boolean,
  source: string,
  at: StabilityReport['at'],
): string {
  const parts: string[] = [];
  if (c.recurrent !== null) {
    const against = ` (${bound === null ? 'no certified bound' : `certified bound ${formatNumber(bound)}`})`;
    const [recurrent, output] = at === 'output' ? ['', against] : [against, ''];
    parts.push(
      `recurrent output differs by at most ${formatNumber(c.recurrent)}${recurrent}, model output by ${formatNumber(c.output ?? 0)}${output}`,
    );
  }
  if (c.exact !== null) parts.push(`on sequences no longer than the window by ${formatNumber(c.exact)}, which is rounding`);
  const compared = parts.length > 0 ? parts.join('; ') : 'the original takes no sequence that could be compared';
  return `k = ${k} (${basisInWords[basis]}). ${passed ? 'Verified' : 'NOT VERIFIED'} in ONNX Runtime on ${c.windows} ${source} windows: ${compared}.`;
}

/** Checks the checkpoint, truncates it, and compares the result with the original in ONNX Runtime. */
export async function exportTruncated(
  files: CheckpointFiles,
  options: ExportOptions,
  runtime: InferenceRuntime,
  progress: Progress,
): Promise<ExportResult> {
  const checked = await runCheck(files, options, runtime, (step, f) => progress(step, 0.6 * f));
  const { report, axes } = checked;
  if (axes.streaming) {
    throw new BadInputError(
      'streaming-model',
      'this is a streaming model (one step per call, the caller carries the state), which cannot be exported yet; export the model with a time axis instead',
    );
  }
  const { k, basis: chosen } = chooseLength(options, checked);
  await progress(`Unrolling ${k} steps`, 0.65);
  const window = truncateToWindow(checked.checkpoint.onnx, k, axes.time);
  // With context on both sides a window can reach the whole sequence before k does.
  const basis = window.position === null ? 'full' : chosen;
  const described = describeInMetadata(window.model, {
    mode: 'window',
    length: String(window.k),
    basis,
    epsilon: String(options.epsilon),
    source: files.name.split(/[\\/]/).pop() ?? files.name,
  });
  const model = writeModel(described);

  await progress('Comparing with the original in ONNX Runtime', 0.75);
  const batch = verificationBatch(checked, window.length);
  const comparison = await compareWithOriginal(checked.checkpoint.onnx, axes, window, batch.batch, runtime);
  const bound = basis === 'full' ? 0 : boundAt(report, window.k);
  const { rounding } = comparison;
  const error = report.at === 'output' ? comparison.output : comparison.recurrent;
  const passed =
    (comparison.exact === null || comparison.exact <= rounding) &&
    (bound === null || error === null || error <= bound + rounding) &&
    comparison.windows > 0;
  const verification: Verification = {
    length: window.k,
    basis,
    recurrentError: comparison.recurrent,
    bound,
    outputError: comparison.output,
    exactError: comparison.exact,
    windows: comparison.windows,
    source: batch.source,
    bytes: model.length,
    nodes: window.model.graph.node.length,
    passed,
    summary: summarise(
      window.k,
      basis,
      comparison,
      bound,
      passed,
      batch.source === 'samples' ? 'sample' : 'synthetic',
      report.at,
    ),
  };
  if (!passed) {
    throw new BadInputError(
      'verification-failed',
      `the truncated model does not agree with the original, so it is not written. ${verification.summary}`,
    );
  }
  await progress('Done', 1);
  return { model, verification, report };
}

/** The check's sequences where they are longer than the window, else synthetic ones that are. */
function verificationBatch(checked: Checked, length: number): { batch: InputBatch; source: 'samples' | 'synthetic' } {
  const { axes, batch, source, range } = checked;
  if (axes.time !== null || batch.steps > length) return { batch, source };
  return { batch: standIn(axes, range, length), source: 'synthetic' };
}
