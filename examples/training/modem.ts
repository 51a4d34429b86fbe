import * as tf from '@tensorflow/tfjs-core';
import { DataType } from '../../src/checkpoint/onnx/tensor.js';
import type { Example } from './example.js';
import { fit } from './fit.js';
import { npy, npz } from './npz.js';
import { onnxModel } from './onnxModel.js';
import { Random } from './random.js';
import { RecurrentModel } from './recurrent.js';
import { digitised, sequenceOrder, stepInputs, stepTargets, type Sequences } from './sequences.js';

/**
 * A demodulator: bits from a noisy frequency-shift-keyed signal that arrives by two paths. A GRU with
 * linear_before_reset = 1, the variant of PyTorch, cuDNN and Keras' reset_after.
 */

/** Samples of one symbol are what the model reads at one step. Delays are in samples. */
const signal = {
  samplesPerBit: 8,
  /** Cycles per bit that stand for 0 and 1. */
  tones: [1, 2] as const,
  amplitude: 0.5,
  echo: { gain: 0.7, delay: 11 },
  noise: 0.25,
  /** Standard deviation of the transmitter's phase noise from one bit to the next, in radians. */
  phaseJitter: 0.8,
  converterLevels: 128,
};
const hidden = 24;
const trainingSteps = 32;
const sampleSteps = 80;
const batch = 32;
const schedule = { updates: 1200, learningRate: 0.01 };
/** The answer at a step is the bit of the step before, so that the model has heard its echo. */
const decisionDelay = 1;
/** Steps at the start of a sequence that do not count: the state there is still that of an empty memory. */
const warmUp = 4;
const seeds = { weights: 11, training: 12, test: 13 };

function transmit(random: Random, count: number, steps: number): Sequences {
  const { samplesPerBit, tones, amplitude, echo, noise, phaseJitter, converterLevels } = signal;
  const inputs = new Float32Array(count * steps * samplesPerBit);
  const targets = new Float32Array(count * steps);
  // Bits before the first step, whose echo and whose decision fall into the sequence.
  const lead = Math.max(decisionDelay, Math.ceil(echo.delay / samplesPerBit));
  for (let n = 0; n < count; n++) {
    const wave = new Float64Array((lead + steps) * samplesPerBit);
    const bits = Array.from({ length: lead + steps }, () => random.integer(2));
    // The phase is continuous from bit to bit, and the receiver does not know where it starts.
    let phase = random.uniform(0, 2 * Math.PI);
    bits.forEach((bit, b) => {
      phase += phaseJitter * random.normal();
      for (let i = 0; i < samplesPerBit; i++) {
        phase += (2 * Math.PI * tones[bit as 0 | 1]) / samplesPerBit;
        wave[b * samplesPerBit + i] = amplitude * Math.sin(phase);
      }
    });
    for (let i = 0; i < steps * samplesPerBit; i++) {
      const now = lead * samplesPerBit + i;
      const received = wave[now]! + echo.gain * wave[now - echo.delay]! + noise * random.normal();
      inputs[n * steps * samplesPerBit + i] = digitised(received, converterLevels);
    }
    for (let t = 0; t < steps; t++) targets[n * steps + t] = bits[lead + t - decisionDelay]!;
  }
  return { count, steps, features: samplesPerBit, inputs, outputs: 1, targets };
}

/** Magnitude at the tone of 1 minus that at the tone of 0, from a correlator with the tone in quadrature, for each target. */
function correlatorOutputs({ count, steps, inputs, features }: Sequences): { difference: number; target: number }[] {
  const out: { difference: number; target: number }[] = [];
  const magnitude = (from: number, cycles: number) => {
    let re = 0;
    let im = 0;
    for (let i = 0; i < features; i++) {
      const angle = (2 * Math.PI * cycles * i) / features;
      re += inputs[from + i]! * Math.cos(angle);
      im += inputs[from + i]! * Math.sin(angle);
    }
    return Math.hypot(re, im);
  };
  const [zero, one] = signal.tones;
  for (let n = 0; n < count; n++) {
    for (let t = warmUp; t < steps; t++) {
      const from = (n * steps + t - decisionDelay) * features;
      out.push({ difference: magnitude(from, one) - magnitude(from, zero), target: n * steps + t });
    }
  }
  return out;
}

interface Quality {
  /** Mean cross-entropy in nats. */
  readonly loss: number;
  readonly bitErrors: number;
}

function quality(logits: readonly { logit: number; bit: number }[]): Quality {
  const loss = logits.reduce((sum, { logit, bit }) => sum + Math.log1p(Math.exp(bit ? -logit : logit)), 0);
  const errors = logits.filter(({ logit, bit }) => logit > 0 !== bit > 0).length;
  return { loss: loss / logits.length, bitErrors: errors / logits.length };
}

/** The textbook receiver without a memory: correlators and a decision, with the best slope and offset for its log-odds. */
function correlatorQuality(training: Sequences, test: Sequences): Quality {
  const fitted = correlatorOutputs(training);
  let [slope, offset] = [0, 0];
  // Newton's method for logistic regression with one feature; it settles within a few iterations.
  for (let i = 0; i < 20; i++) {
    let [gs, go, ss, so, oo] = [0, 0, 1e-9, 0, 1e-9];
    for (const { difference, target } of fitted) {
      const p = 1 / (1 + Math.exp(-slope * difference - offset));
      const error = p - training.targets[target]!;
      const weight = p * (1 - p);
      gs += error * difference;
      go += error;
      ss += weight * difference * difference;
      so += weight * difference;
      oo += weight;
    }
    const determinant = ss * oo - so * so;
    slope -= (oo * gs - so * go) / determinant;
    offset -= (ss * go - so * gs) / determinant;
  }
  return quality(
    correlatorOutputs(test).map(({ difference, target }) => ({ logit: slope * difference + offset, bit: test.targets[target]! })),
  );
}

export function trainModem(): Example {
  const { samplesPerBit } = signal;
  const model = new RecurrentModel('gru', { input: samplesPerBit, hidden, output: 1 }, new Random(seeds.weights));
  const loss = (data: Sequences): tf.Scalar =>
    tf.losses.sigmoidCrossEntropy(stepTargets(data, warmUp), model.read(model.run(stepInputs(data)).slice(warmUp)));
  const test = transmit(new Random(seeds.test), 480, sampleSteps);
  const logits = () =>
    tf.tidy(() => sequenceOrder(model.read(model.run(stepInputs(test))).dataSync(), test.count, test.steps, 1));
  const modelQuality = (values: Float32Array) => {
    const counted = [...values].map((logit, i) => ({ logit, bit: test.targets[i]!, step: i % test.steps }));
    return quality(counted.filter(({ step }) => step >= warmUp));
  };

  const before = modelQuality(logits());
  const random = new Random(seeds.training);
  fit('modem-gru', model.variables(), schedule, () => loss(transmit(random, batch, trainingSteps)));
  const trained = logits();
  const after = modelQuality(trained);
  const correlator = correlatorQuality(transmit(random, 400, sampleSteps), test);

  const onnx = onnxModel(model, {
    name: 'modem',
    task: 'Bits from a noisy frequency-shift-keyed signal with an echo: one symbol of samples per step, the bit of the step before.',
    input: { name: 'samples', type: DataType.FLOAT, dims: ['batch', 'time', samplesPerBit] },
    output: { name: 'bit', type: DataType.FLOAT, dims: ['batch', 'time', 1] },
    activation: 'Sigmoid',
  });
  return {
    name: 'modem-gru',
    onnx,
    samples: npz({ samples: npy(test.inputs, [test.count, test.steps, samplesPerBit]) }),
    output: 'bit',
    answers: trained.map((v) => 1 / (1 + Math.exp(-v))),
    results: {
      'held-out cross-entropy, before training': before.loss,
      'held-out cross-entropy, after training': after.loss,
      'held-out cross-entropy, always 1/2': Math.log(2),
      'held-out cross-entropy, correlators without memory': correlator.loss,
      'bit error rate, after training': after.bitErrors,
      'bit error rate, correlators without memory': correlator.bitErrors,
    },
  };
}
