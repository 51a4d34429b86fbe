import * as tf from '@tensorflow/tfjs-core';
import { Matrix, solve } from 'ml-matrix';
import { DataType } from '../../src/checkpoint/onnx/tensor.js';
import type { Example } from './example.js';
import { fit } from './fit.js';
import { npy, npz } from './npz.js';
import { onnxModel } from './onnxModel.js';
import { Random } from './random.js';
import { RecurrentModel } from './recurrent.js';
import { digitised, sequenceOrder, stepInputs, stepTargets, type Sequences } from './sequences.js';
import { tfjsModel } from './tfjsModel.js';

/**
 * A soft sensor: position and velocity of a damped, randomly forced oscillator from noisy position readings that saturate.
 * A vanilla RNN whose recurrent weights are kept on a set where the comparison operator certifies stability.
 */

/** Time is counted in sampling intervals. */
const oscillator = { frequency: 0.6, damping: 0.3, deviation: 0.9, noise: 0.1, converterLevels: 512 };
const hidden = 16;
const trainingSteps = 48;
const sampleSteps = 96;
const batch = 32;
const schedule = { updates: 1500, learningRate: 0.01 };
/** Steps at the start of a sequence that do not count: the state there is still that of an empty memory. */
const warmUp = 8;
/** Upper limit of the absolute row sums of R. */
const limit = 0.82;
const seeds = { weights: 1, training: 2, test: 3, baseline: 4 };

interface Transition {
  /** Exact transition of (position, velocity) over one interval, row-major. */
  readonly matrix: readonly [number, number, number, number];
  /** Position of rest under a unit force. */
  readonly rest: number;
}

/** x″ + 2ζω x′ + ω² x = force, solved exactly for a force that is constant over the interval. */
function transition(): Transition {
  const { frequency: w, damping } = oscillator;
  const decay = damping * w;
  const turn = w * Math.sqrt(1 - damping * damping);
  const e = Math.exp(-decay);
  const c = Math.cos(turn);
  const s = Math.sin(turn) / turn;
  return { matrix: [e * (c + decay * s), e * s, -e * w * w * s, e * (c - decay * s)], rest: 1 / (w * w) };
}

/** Standard deviation of the force for which the position has the wanted one in the long run. */
function forceDeviation({ matrix: [a, b, c, d], rest }: Transition): number {
  const inX = rest * (1 - a);
  const inV = -rest * c;
  let [xx, xv, vv] = [0, 0, 0];
  // The covariance of the state under unit forcing, iterated until the oscillator has forgotten its start.
  for (let i = 0; i < 2000; i++) {
    [xx, xv, vv] = [
      a * a * xx + 2 * a * b * xv + b * b * vv + inX * inX,
      a * c * xx + (a * d + b * c) * xv + b * d * vv + inX * inV,
      c * c * xx + 2 * c * d * xv + d * d * vv + inV * inV,
    ];
  }
  return oscillator.deviation / Math.sqrt(xx);
}

const motion = transition();
const force = forceDeviation(motion);

function simulate(random: Random, count: number, steps: number): Sequences {
  const { frequency, noise, converterLevels } = oscillator;
  const [a, b, c, d] = motion.matrix;
  const inputs = new Float32Array(count * steps);
  const targets = new Float32Array(2 * count * steps);
  const settling = 100;
  for (let n = 0; n < count; n++) {
    let x = 0;
    let v = 0;
    for (let t = -settling; t < steps; t++) {
      const rest = motion.rest * force * random.normal();
      [x, v] = [rest + a * (x - rest) + b * v, c * (x - rest) + d * v];
      if (t < 0) continue;
      inputs[n * steps + t] = digitised(x + noise * random.normal(), converterLevels);
      targets.set([x, v / frequency], 2 * (n * steps + t));
    }
  }
  return { count, steps, features: 1, inputs, outputs: 2, targets };
}

/**
 * Moves every row of R to the nearest point with an absolute sum of at most `limit`: the max norm of R, which bounds the
 * Perron root of |R|. The nearest point subtracts one threshold from all entries of the row (soft thresholding), so it
 * prefers few strong connections, where scaling the row would weaken all of them.
 */
function project(recurrent: tf.Variable<tf.Rank.R2>): void {
  const r = Float32Array.from(recurrent.dataSync());
  for (let from = 0; from < r.length; from += hidden) {
    const row = r.subarray(from, from + hidden);
    const sizes = row.map(Math.abs).sort().reverse();
    if (sizes.reduce((a, b) => a + b, 0) <= limit) continue;
    let sum = 0;
    let threshold = 0;
    sizes.forEach((size, i) => {
      sum += size;
      if (size * (i + 1) > sum - limit) threshold = (sum - limit) / (i + 1);
    });
    row.forEach((v, i) => (row[i] = Math.sign(v) * Math.max(0, Math.abs(v) - threshold)));
  }
  const nearest = tf.tensor2d(r, [hidden, hidden]);
  recurrent.assign(nearest);
  nearest.dispose();
}

/** The best linear filter over the last `taps` readings, by least squares on fresh data; returns its error on `test`. */
function linearFilterError(test: Sequences, taps: number): number {
  const row = (s: Sequences, n: number, t: number) => [...s.inputs.subarray(n * s.steps + t - taps + 1, n * s.steps + t + 1), 1];
  const training = simulate(new Random(seeds.baseline), 400, sampleSteps);
  const normal = Matrix.zeros(taps + 1, taps + 1);
  const right = Matrix.zeros(taps + 1, 2);
  for (let n = 0; n < training.count; n++) {
    for (let t = taps; t < training.steps; t++) {
      const x = row(training, n, t);
      x.forEach((u, i) => {
        x.forEach((v, j) => normal.set(i, j, normal.get(i, j) + u * v));
        for (let o = 0; o < 2; o++) {
          right.set(i, o, right.get(i, o) + u * training.targets[2 * (n * training.steps + t) + o]!);
        }
      });
    }
  }
  const filter = solve(normal, right);
  let sum = 0;
  let terms = 0;
  for (let n = 0; n < test.count; n++) {
    for (let t = taps; t < test.steps; t++) {
      const x = row(test, n, t);
      for (let o = 0; o < 2; o++) {
        const guess = x.reduce((total, u, i) => total + u * filter.get(i, o), 0);
        sum += (guess - test.targets[2 * (n * test.steps + t) + o]!) ** 2;
        terms++;
      }
    }
  }
  return sum / terms;
}

export async function trainOscillator(): Promise<Example> {
  const model = new RecurrentModel('rnn', { input: 1, hidden, output: 2 }, new Random(seeds.weights));
  project(model.recurrent);
  const loss = (data: Sequences) =>
    tf.losses.meanSquaredError(stepTargets(data, warmUp), model.read(model.run(stepInputs(data)).slice(warmUp))) as tf.Scalar;
  const test = simulate(new Random(seeds.test), 480, sampleSteps);
  const testLoss = () => tf.tidy(() => loss(test).dataSync()[0]!);

  const before = testLoss();
  const random = new Random(seeds.training);
  fit(
    'oscillator-rnn',
    model.variables(),
    schedule,
    () => loss(simulate(random, batch, trainingSteps)),
    () => project(model.recurrent),
  );
  const after = testLoss();
  const mean = test.targets.reduce((sum, v) => sum + v * v, 0) / test.targets.length;

  const answers = tf.tidy(() => model.read(model.run(stepInputs(test))).dataSync());
  const onnx = onnxModel(model, {
    name: 'oscillator',
    task: 'Position and velocity of a damped, randomly forced oscillator from noisy position readings that saturate at 1.',
    input: { name: 'position', type: DataType.FLOAT, dims: ['batch', 'time', 1] },
    output: { name: 'state', type: DataType.FLOAT, dims: ['batch', 'time', 2] },
  });
  return {
    name: 'oscillator-rnn',
    onnx,
    tfjs: await tfjsModel(model, 'position'),
    samples: npz({ position: npy(test.inputs, [test.count, test.steps, 1]) }),
    output: 'state',
    answers: sequenceOrder(answers, test.count, test.steps, 2),
    results: {
      'held-out mean squared error, before training': before,
      'held-out mean squared error, after training': after,
      'held-out mean squared error, predicting the mean': mean,
      'held-out mean squared error, best linear filter over 32 readings': linearFilterError(test, 32),
    },
  };
}
