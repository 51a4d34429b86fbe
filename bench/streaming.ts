import { readFile } from 'node:fs/promises';
import { openCheckpoint } from '../src/checkpoint/open.js';
import { readModel } from '../src/checkpoint/onnx/model.js';
import type { GraphProto } from '../src/checkpoint/onnx/onnx_pb.js';
import { nodeFiles } from '../src/cli/nodeFiles.js';
import { exportTruncated } from '../src/jobs/export.js';
import { defaultCheckOptions } from '../src/jobs/jobs.js';
import { formatNumber } from '../src/report/format.js';
import { proposedLength } from '../src/report/proposedLength.js';
import { createRuntime } from '../src/runtime/onnxRuntime.js';
import { checkpointPath, hasCheckpoint } from '../test/support/checkpoints.js';
import { maxLength, published, samplesOf } from '../test/support/publishedStreams.js';

/** Published streaming models on speech: what is found in them, and what a model without state costs. Needs the published files. */
export async function bench(args: readonly string[]): Promise<void> {
  const runtime = createRuntime(() => readFile('node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm'));
  const silent = () => Promise.resolve();
  for (const model of published.filter((m) => m.name.includes(args[0] ?? ''))) {
    if (!hasCheckpoint(...model.path)) {
      console.log(`${model.name}: not here; see RNN_CHECKPOINTS`);
      continue;
    }
    const path = checkpointPath(...model.path);
    const bytes = samplesOf(model);
    const files = { ...nodeFiles(path), samples: { name: 'speech.npz', read: () => Promise.resolve(bytes) } };
    const set = model.set ?? {};
    const { streaming } = await openCheckpoint(files, { set, states: {} }, runtime);
    const k = model.exported;
    const started = performance.now();
    const exported = await exportTruncated(files, { ...defaultCheckOptions, set, maxLength, length: k }, runtime, silent);
    const seconds = (performance.now() - started) / 1000;
    const { report, verification } = exported;
    const at = (length: number) => formatNumber(report.streaming!.outputMeasured![length]!);
    const proposed = proposedLength({ ...report, safeLength: null });
    const before = weightBytes(streaming!.model.graph);
    const after = weightBytes(readModel(exported.model).graph);
    console.log(`${model.name}  (check and export: ${formatNumber(seconds)} s)`);
    for (const s of report.streaming!.states)
      console.log(`  state   ${s.input} <- ${s.output} [${s.shape.join(', ')}] ${s.kind} of ${s.of.length}`);
    console.log(`  cells   ${report.layers.map((l) => `${l.cell} ${l.inputSize}>${l.hiddenSize}`).join(', ')}`);
    console.log(`  curve   outputs, worst of 3 streams: k=0 ${at(0)}, 8 ${at(8)}, 32 ${at(32)}, 96 ${at(96)}`);
    console.log(
      `  k       ${proposed.basis === 'measured' ? `${proposed.length} measured` : `none up to ${maxLength}`}; verdict ${report.verdict}`,
    );
    console.log(
      `  export  k = ${k}: ${formatNumber(verification.bytes / 1000)} kB, ${verification.nodes} nodes; weights ${formatNumber(after / 1000)} kB, ${((100 * after) / before).toFixed(2)} % of the original's ${formatNumber(before / 1000)} kB`,
    );
    console.log(
      `  differs from the original run step by step by ${formatNumber(verification.exactError!)} (same ${k} frames), ${formatNumber(verification.outputError!)} (whole stream)`,
    );
    console.log(`  ${verification.summary.split('. ').slice(2).join('. ')}`);
  }
}

/** Bytes of stored tensors, in initializers and Constant nodes. */
function weightBytes({ initializer, node }: GraphProto): number {
  const stored = [...initializer, ...node.flatMap((n) => n.attribute.flatMap((a) => (a.t ? [a.t] : [])))];
  return stored.reduce(
    (sum, t) =>
      sum + t.rawData.length + 4 * (t.floatData.length + t.int32Data.length) + 8 * (t.int64Data.length + t.doubleData.length),
    0,
  );
}
