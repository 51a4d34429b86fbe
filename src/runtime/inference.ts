import { BadInputError } from '../errors.js';
import type { Tensor } from '../checkpoint/onnx/tensor.js';

/** ONNX Runtime as the jobs see it, so that a worker, the command line and the tests can bring their own. */
export interface InferenceRuntime {
  /**
   * @param nodes of the model, where there may be many: above some thousands the model is run as it is, because optimising it
   * takes time that grows with the square of their number
   * @throws Error with ONNX Runtime's message when it refuses the model
   */
  load(model: Uint8Array, nodes?: number): Promise<InferenceSession>;
}

export interface InferenceSession {
  run(feeds: ReadonlyMap<string, Tensor>): Promise<Map<string, Tensor>>;
  release(): Promise<void>;
}

/**
 * Rethrows what ONNX Runtime says about a model of the user's, at loading or at running, as a fault of the file.
 * @param consequence what cannot be done now
 */
export function refusedBy(error: unknown, consequence: string): never {
  const reason = (error instanceof Error ? error.message : String(error)).split('\n')[0]!;
  throw new BadInputError('runtime-refused', `ONNX Runtime cannot run the original, so ${consequence}: ${reason}`);
}
