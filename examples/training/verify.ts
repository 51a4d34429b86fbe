import { readFile } from 'node:fs/promises';
import { openCheckpoint } from '../../src/checkpoint/open.js';
import { check } from '../../src/jobs/check.js';
import { defaultCheckOptions, type CheckpointFiles } from '../../src/jobs/jobs.js';
import { createRuntime } from '../../src/runtime/onnxRuntime.js';
import { readSamples } from '../../src/samples/formats.js';
import { readModelInputs } from '../../src/samples/modelInputs.js';
import { sampleBatches } from '../../src/samples/sampleBatches.js';
import type { Example } from './example.js';

const runtime = createRuntime(() => readFile('node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm'));

/** Largest difference between ONNX Runtime's answers and the TF.js model's that is put down to rounding. */
const tolerance = 1e-4;

function filesOf({ name, onnx, samples }: Example): CheckpointFiles {
  return {
    name: `${name}.onnx`,
    read: () => Promise.resolve(onnx),
    readSibling: (path) => Promise.resolve(path === `${name}.samples.npz` ? samples : undefined),
  };
}

/**
 * Reads the written bytes back, runs the samples through ONNX Runtime and compares with TF.js.
 * @returns the largest absolute difference
 * @throws Error when the two disagree
 */
export async function compareRuntimes(example: Example): Promise<number> {
  const { onnx } = await openCheckpoint(filesOf(example), { set: {}, states: {} }, runtime);
  const axes = readModelInputs(onnx);
  const arrays = readSamples([{ name: example.name, bytes: example.samples }]);
  const batch = sampleBatches(axes, arrays, example.name)[0]!;
  const session = await runtime.load(example.onnx);
  const answers = (await session.run(batch.feeds)).get(example.output)!.data;
  await session.release();
  if (answers.length !== example.answers.length)
    throw new Error(`${example.name}: ${answers.length} answers, ${example.answers.length} expected`);
  const error = answers.reduce((most, v, i) => Math.max(most, Math.abs(v - example.answers[i]!)), 0);
  if (!(error <= tolerance)) throw new Error(`${example.name}: ONNX Runtime differs from TF.js by ${error}`);
  return error;
}

/** What the tool itself finds about the checkpoint with the samples beside it. */
export async function findings(example: Example): Promise<string> {
  const report = await check(filesOf(example), defaultCheckOptions, runtime, () => Promise.resolve());
  const length = report.safeLength ? `k = ${report.safeLength.k} (${report.safeLength.basis})` : 'no safe length';
  return `${report.verdict}, λ = ${report.lambda?.toPrecision(4) ?? 'none'}, ${length} at ε = ${report.epsilon}`;
}
