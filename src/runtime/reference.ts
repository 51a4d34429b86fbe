import type { Tensor } from '../checkpoint/onnx/tensor.js';
import type { CheckpointFiles } from '../jobs/jobs.js';

/** The framework that a checkpoint was written for, running the original: what a conversion is verified against. */
export interface ReferenceRuntime {
  /** @throws Error with the framework's message when it refuses the model */
  load(files: CheckpointFiles): Promise<ReferenceModel>;
}

export interface ReferenceModel {
  /** The framework with its version, for people. */
  readonly name: string;
  /** @param inputs in the order of the model's own inputs */
  run(inputs: readonly Tensor[]): Promise<Tensor[]>;
  release(): void;
}
