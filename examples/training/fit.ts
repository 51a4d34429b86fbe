import * as tf from '@tensorflow/tfjs-core';

export interface Schedule {
  readonly updates: number;
  readonly learningRate: number;
  /** Weights shrink by this share of themselves, times the learning rate, at every update; decoupled from the gradient. */
  readonly weightDecay?: number;
}

/**
 * Adam with a learning rate that falls to zero along a half cosine.
 * @param loss loss of a fresh batch
 * @param afterUpdate projection of the weights
 */
export function fit(
  name: string,
  variables: tf.Variable[],
  schedule: Schedule,
  loss: (update: number) => tf.Scalar,
  afterUpdate: () => void = () => undefined,
): void {
  const optimizer = tf.train.adam(schedule.learningRate);
  let recent = 0;
  const report = Math.ceil(schedule.updates / 6);
  for (let update = 0; update < schedule.updates; update++) {
    const learningRate = schedule.learningRate * 0.5 * (1 + Math.cos((Math.PI * update) / schedule.updates));
    // The field is the one that the optimizer reads at every update; TF.js has no schedules of its own.
    Object.assign(optimizer, { learningRate });
    const value = optimizer.minimize(() => loss(update), true, variables)!;
    recent += value.dataSync()[0]! / report;
    value.dispose();
    if (schedule.weightDecay) shrink(variables, 1 - learningRate * schedule.weightDecay);
    afterUpdate();
    if ((update + 1) % report === 0) {
      console.log(`  ${name}: update ${update + 1} of ${schedule.updates}, training loss ${recent.toPrecision(4)}`);
      recent = 0;
    }
  }
  optimizer.dispose();
}

function shrink(variables: readonly tf.Variable[], factor: number): void {
  for (const variable of variables) tf.tidy(() => variable.assign(tf.mul(variable, factor)));
}
