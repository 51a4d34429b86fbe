import { readFile } from 'node:fs/promises';
import type { Tensor } from '../../src/checkpoint/onnx/tensor.js';
import { createRuntime } from '../../src/runtime/onnxRuntime.js';

export const runtime = createRuntime(() => readFile('node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm'));

/** Runs a model once in ONNX Runtime. */
export async function runModel(model: Uint8Array, feeds: ReadonlyMap<string, Tensor>): Promise<Map<string, Tensor>> {
  const session = await runtime.load(model);
  try {
    return await session.run(feeds);
  } finally {
    await session.release();
  }
}
