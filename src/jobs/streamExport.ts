import { writeModel } from '../checkpoint/onnx/model.js';
import { BadInputError } from '../errors.js';
import { formatNumber } from '../report/format.js';
import type { Verification } from '../report/verification.js';
import type { InferenceRuntime } from '../runtime/inference.js';
import { withoutState, type StatelessModel } from '../truncation/streaming.js';
import { compareStreams, type StreamComparison } from '../truncation/verifyStream.js';
import { describeInMetadata } from '../truncation/window.js';
import { basisInWords, basisOf, suggestedLength, type Choice } from './exportLength.js';
import type { ExportOptions, ExportResult, Progress } from './jobs.js';
import { standInStreams, type CheckedStream } from './stream.js';

function chooseLength(options: ExportOptions, { report }: CheckedStream): Choice {
  if (options.length !== 'auto') return { k: options.length, basis: basisOf(report, options.length) };
  return report.safeLength ? { k: Math.max(1, report.safeLength.k), basis: report.safeLength.basis } : suggestedLength(report);
}

/** Unrolls a streaming model over k frames without its state, and compares it with the original run frame by frame. */
export async function exportStream(
  file: string,
  checked: CheckedStream,
  options: ExportOptions,
  runtime: InferenceRuntime,
  progress: Progress,
): Promise<ExportResult> {
  const { report, checkpoint } = checked;
  const { streaming, onnx } = checkpoint;
  const { k, basis } = chooseLength(options, checked);
  await progress(`Unrolling ${k} frames`, 0.65);
  const stateless = withoutState(streaming, onnx, k);
  const described = describeInMetadata(stateless.model, {
    mode: 'stream',
    length: String(k),
    basis,
    epsilon: String(options.epsilon),
    source: file.split(/[\\/]/).pop() ?? file,
    inputs: streaming.frames.map((f) => `${f.name}: the last ${k} frames of [${f.dims.join(', ')}], oldest first`).join('; '),
  });
  const model = writeModel(described);

  await progress('Comparing with the original in ONNX Runtime', 0.75);
  const long = checked.streams.some((s) => s.length > k);
  const streams = long ? checked.streams : standInStreams(streaming, checked.range, k);
  const source = long ? checked.source : 'synthetic';
  const comparison = await compareStreams(streaming, stateless, streams, runtime, () =>
    progress('Comparing with the original in ONNX Runtime', 0.85),
  );
  const passed = comparison.windows > 0 && comparison.exact <= comparison.rounding;
  const verification: Verification = {
    length: k,
    basis,
    recurrentError: null,
    bound: null,
    outputError: comparison.output,
    exactError: comparison.exact,
    windows: comparison.windows,
    source,
    bytes: model.length,
    nodes: stateless.model.graph.node.length,
    passed,
    summary: summarise(stateless, basis, comparison, passed, source),
  };
  if (!passed) {
    throw new BadInputError(
      'verification-failed',
      `the stateless model does not agree with the original, so it is not written. ${verification.summary}`,
    );
  }
  await progress('Done', 1);
  return { model, verification, report };
}

function summarise(
  { k, recurrentNodes, batchedNodes }: StatelessModel,
  basis: Choice['basis'],
  c: StreamComparison,
  passed: boolean,
  source: string,
): string {
  const whole =
    c.output === null ? '' : `the output differs from the original on whole streams by at most ${formatNumber(c.output)}; `;
  return (
    `k = ${k} frames (${basisInWords[basis]}). ${passed ? 'Verified' : 'NOT VERIFIED'} in ONNX Runtime on ${c.windows} ${source === 'samples' ? 'sample' : 'synthetic'} windows: ` +
    `${whole}from the original started anew ${k} frames ago by ${formatNumber(c.exact)}, which is rounding. ` +
    `One answer takes ${formatNumber(c.statelessMilliseconds)} ms (${k} times the ${recurrentNodes} nodes that depend on the state, ${batchedNodes} nodes once for all frames); ` +
    `one call of the original takes ${formatNumber(c.originalMilliseconds)} ms. No state is kept between calls.`
  );
}
