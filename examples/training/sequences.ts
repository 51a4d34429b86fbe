import * as tf from '@tensorflow/tfjs-core';

/** Sequences of one length with a target at every step; arrays are [count, steps, features] in C order. */
export interface Sequences {
  readonly count: number;
  readonly steps: number;
  readonly features: number;
  readonly inputs: Float32Array;
  readonly outputs: number;
  readonly targets: Float32Array;
}

/** The values that every sequence has at one step, with features as rows: [features, count]. */
export function stepInputs({ count, steps, features, inputs }: Sequences): tf.Tensor2D[] {
  return Array.from({ length: steps }, (_, t) => {
    const values = new Float32Array(features * count);
    for (let n = 0; n < count; n++) {
      for (let f = 0; f < features; f++) values[f * count + n] = inputs[(n * steps + t) * features + f]!;
    }
    return tf.tensor2d(values, [features, count]);
  });
}

/** Targets from step `first` on in the order of RecurrentModel.read: all sequences of one step, then of the next. */
export function stepTargets({ count, steps, outputs, targets }: Sequences, first = 0): tf.Tensor2D {
  const values = new Float32Array((steps - first) * count * outputs);
  for (let t = first; t < steps; t++) {
    for (let n = 0; n < count; n++) {
      const from = (n * steps + t) * outputs;
      values.set(targets.subarray(from, from + outputs), ((t - first) * count + n) * outputs);
    }
  }
  return tf.tensor2d(values, [(steps - first) * count, outputs]);
}

/** The inverse order: rows of RecurrentModel.read over all steps as [count, steps, outputs]. */
export function sequenceOrder(rows: ArrayLike<number>, count: number, steps: number, outputs: number): Float32Array {
  const values = new Float32Array(rows.length);
  for (let n = 0; n < count; n++) {
    for (let t = 0; t < steps; t++) {
      for (let o = 0; o < outputs; o++) values[(n * steps + t) * outputs + o] = rows[(t * count + n) * outputs + o]!;
    }
  }
  return values;
}

/** Nearest code of an analogue-to-digital converter with input range [-1, 1]; values beyond it saturate. */
export function digitised(value: number, levelsPerUnit: number): number {
  return Math.max(-1, Math.min(1, Math.round(value * levelsPerUnit) / levelsPerUnit));
}
