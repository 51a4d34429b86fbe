import { writeModel } from '../checkpoint/onnx/model.js';
import { BadInputError } from '../errors.js';
import { formatNumber } from '../report/format.js';
import type { StabilityReport } from '../report/report.js';
import type { Verification } from '../report/verification.js';
import type { InferenceRuntime } from '../runtime/inference.js';
import type { ReferenceRuntime } from '../runtime/reference.js';
import type { InputBatch } from '../samples/modelInputs.js';
import { anyInput } from '../stability/networkBounds.js';
import { compareWithOriginal, type Comparison } from '../truncation/verify.js';
import { placementOf, PositionUses } from '../truncation/placement.js';
import { describeInMetadata, truncateToWindow } from '../truncation/window.js';
import { runCheck, type Checked } from './check.js';
import { standIn } from './data.js';
import { basisInWords, basisOf, boundAt, suggestedLength, type Choice } from './exportLength.js';
import { exportStream } from './streamExport.js';
import { verifyConversion } from './verifyConversion.js';
import type { CheckpointFiles, ExportOptions, ExportResult, Progress } from './jobs.js';

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
  return suggestedLength(report);
}

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

/**
 * Checks the checkpoint, truncates it, and compares the result with the original in ONNX Runtime.
 * @param reference TF.js, where it is at hand: a converted checkpoint is compared with its own original too
 */
export async function exportTruncated(
  files: CheckpointFiles,
  options: ExportOptions,
  runtime: InferenceRuntime,
  progress: Progress,
  reference: ReferenceRuntime | null = null,
): Promise<ExportResult> {
  const checked = await runCheck(files, options, runtime, (step, f) => progress(step, 0.6 * f));
  if ('streams' in checked) return exportStream(files.name, checked, options, runtime, progress);
  const { report, axes } = checked;
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
  if (checked.checkpoint.format === 'tfjs') {
    await progress('Comparing the conversion with TF.js', 0.95);
    const conversion = await verifyConversion(
      checked.checkpoint,
      files,
      checked.range === anyInput ? {} : { inputRange: checked.range },
      runtime,
      reference,
    );
    verification.summary = `${verification.summary} ${conversion.summary}`;
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
