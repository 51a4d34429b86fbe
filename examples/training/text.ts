import * as tf from '@tensorflow/tfjs-core';
import { readFile } from 'node:fs/promises';
import { DataType } from '../../src/checkpoint/onnx/tensor.js';
import type { Example } from './example.js';
import { fit } from './fit.js';
import { npy, npz } from './npz.js';
import { onnxModel } from './onnxModel.js';
import { Random } from './random.js';
import { RecurrentModel } from './recurrent.js';

/** The next letter of English prose: an embedding, an LSTM, and a softmax after the last letter. */

const alphabet = ' abcdefghijklmnopqrstuvwxyz,.?:';
const letters = alphabet.length;
const embedding = 12;
const hidden = 40;
const trainingSteps = 40;
const sampleSteps = 96;
const batch = 20;
const schedule = { updates: 900, learningRate: 0.03, weightDecay: 0.3 };
/** Every fifth paragraph is held out. */
const heldOutEvery = 5;
/** Letters at the start of a window that are read but not judged. */
const warmUp = 8;
const seeds = { weights: 21, training: 22, test: 23 };

/** Lower case, one space between words; the marks are those of the alphabet. */
function tokens(text: string): number[] {
  return [...text.toLowerCase().replace(/\s+/g, ' ')].map((letter) => {
    const token = alphabet.indexOf(letter);
    if (token < 0) throw new Error(`The corpus holds "${letter}", which is not in the alphabet`);
    return token;
  });
}

/** Windows [count][steps + 1] at random positions; the last letter of each is only predicted. */
function windows(random: Random, text: readonly number[], count: number, steps: number): number[][] {
  return Array.from({ length: count }, () => {
    const from = random.integer(text.length - steps);
    return text.slice(from, from + steps + 1);
  });
}

class LetterModel {
  readonly layer: RecurrentModel;
  /** [letters, embedding]. */
  readonly table: tf.Variable<tf.Rank.R2>;

  constructor(random: Random) {
    this.layer = new RecurrentModel('lstm', { input: embedding, hidden, output: letters }, random);
    this.table = tf.variable(tf.tensor2d(random.uniforms(letters * embedding, 0.5), [letters, embedding]));
  }

  variables(): tf.Variable[] {
    return [this.table, ...this.layer.variables()];
  }

  /** Hidden states after each of the first `steps` letters. The product with one-hot columns is the look-up in the table. */
  states(data: readonly number[][], steps: number): tf.Tensor2D[] {
    const inputs = Array.from({ length: steps }, (_, t) => {
      const oneHot = new Float32Array(letters * data.length);
      data.forEach((window, n) => (oneHot[window[t]! * data.length + n] = 1));
      return tf.matMul<tf.Tensor2D>(this.table, tf.tensor2d(oneHot, [letters, data.length]), true);
    });
    return this.layer.run(inputs);
  }

  /** Mean cross-entropy of all letters after the warm-up, in nats. */
  loss(data: readonly number[][], steps: number): tf.Scalar {
    const logits = this.layer.read(this.states(data, steps).slice(warmUp));
    const wanted = new Float32Array(logits.size);
    for (let t = warmUp; t < steps; t++) {
      data.forEach((window, n) => (wanted[((t - warmUp) * data.length + n) * letters + window[t + 1]!] = 1));
    }
    return tf.losses.softmaxCrossEntropy(tf.tensor2d(wanted, logits.shape), logits);
  }
}

/**
 * Cross-entropy of a table of letter frequencies given the `order` letters before, smoothed by interpolation with the
 * table of one letter less (one pseudo-observation per letter that was seen in that context).
 */
function tableLoss(training: readonly number[], test: readonly number[][], order: number): number {
  const contexts = new Map<string, Map<number, number>>();
  const key = (text: readonly number[], at: number, length: number) => text.slice(at - length, at).join();
  for (let length = 0; length <= order; length++) {
    for (let at = length; at < training.length; at++) {
      const name = `${length}:${key(training, at, length)}`;
      const counts = contexts.get(name) ?? new Map<number, number>();
      counts.set(training[at]!, (counts.get(training[at]!) ?? 0) + 1);
      contexts.set(name, counts);
    }
  }
  const probability = (text: readonly number[], at: number, length: number): number => {
    if (length < 0) return 1 / letters;
    const shorter = probability(text, at, length - 1);
    const counts = contexts.get(`${length}:${key(text, at, length)}`);
    if (!counts) return shorter;
    const total = [...counts.values()].reduce((a, b) => a + b, 0);
    return ((counts.get(text[at]!) ?? 0) + counts.size * shorter) / (total + counts.size);
  };
  let loss = 0;
  let terms = 0;
  for (const window of test) {
    for (let at = warmUp + 1; at < window.length; at++, terms++) loss -= Math.log(probability(window, at, order));
  }
  return loss / terms;
}

export async function trainText(): Promise<Example> {
  const paragraphs = (await readFile('examples/corpus.txt', 'utf8')).trim().split(/\n\s*\n/);
  const part = (heldOut: boolean) =>
    tokens(paragraphs.filter((_, i) => (i % heldOutEvery === heldOutEvery - 1) === heldOut).join(' '));
  const training = part(false);
  const test = windows(new Random(seeds.test), part(true), 480, sampleSteps);

  const model = new LetterModel(new Random(seeds.weights));
  const testLoss = () => tf.tidy(() => model.loss(test, sampleSteps).dataSync()[0]!);
  const before = testLoss();
  const random = new Random(seeds.training);
  fit('text-lstm', model.variables(), schedule, () => model.loss(windows(random, training, batch, trainingSteps), trainingSteps));
  const after = testLoss();

  const onnx = onnxModel(model.layer, {
    name: 'text',
    task: 'Probabilities of the next letter of English prose.',
    input: { name: 'tokens', type: DataType.INT64, dims: ['batch', 'time'] },
    output: { name: 'next_letter', type: DataType.FLOAT, dims: ['batch', letters] },
    embedding: { rows: letters, data: model.table.dataSync() as Float32Array },
    activation: 'Softmax',
    lastStep: true,
    metadata: { alphabet },
  });
  const inputs = BigInt64Array.from(test.flatMap((window) => window.slice(0, sampleSteps).map(BigInt)));
  return {
    name: 'text-lstm',
    onnx,
    samples: npz({ tokens: npy(inputs, [test.length, sampleSteps]) }),
    output: 'next_letter',
    answers: tf.tidy(() => tf.softmax(model.layer.read(model.states(test, sampleSteps).slice(-1))).dataSync() as Float32Array),
    results: {
      'training letters': training.length,
      'held-out cross-entropy per letter, before training': before,
      'held-out cross-entropy per letter, after training': after,
      'held-out cross-entropy per letter, letter frequencies': tableLoss(training, test, 0),
      'held-out cross-entropy per letter, table of letter pairs': tableLoss(training, test, 1),
      'held-out cross-entropy per letter, table of letter triples': tableLoss(training, test, 2),
      'held-out cross-entropy per letter, table of five letters': tableLoss(training, test, 4),
    },
  };
}
