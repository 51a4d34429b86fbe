import type { Tensor } from '../checkpoint/onnx/tensor.js';

/** ONNX Runtime as the jobs see it, so that a worker, the command line and the tests can bring their own. */
export interface InferenceRuntime {
  /** @throws Error with ONNX Runtime's message when it refuses the model */
  load(model: Uint8Array): Promise<InferenceSession>;
}

export interface InferenceSession {
  run(feeds: ReadonlyMap<string, Tensor>): Promise<Map<string, Tensor>>;
  release(): Promise<void>;
}
