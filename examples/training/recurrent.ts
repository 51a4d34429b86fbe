import * as tf from '@tensorflow/tfjs-core';
import type { Random } from './random.js';

/**
 * RNN, LSTM and GRU layers with a dense head, in TF.js operations and with ONNX's weight layout: W is [gates·H, I], R is
 * [gates·H, H]. States are [H, batch], so that the gates of a pre-activation are blocks of rows; rows are contiguous,
 * and the CPU backend is many times faster at cutting contiguous blocks than at cutting columns.
 */
export type Kind = 'rnn' | 'lstm' | 'gru';

const gateCount: Record<Kind, number> = { rnn: 1, lstm: 4, gru: 3 };

export interface Sizes {
  readonly input: number;
  readonly hidden: number;
  readonly output: number;
}

export class RecurrentModel {
  /** W with the bias Wb as its last column. Gates in ONNX's order: LSTM i, o, f, c; GRU z, r, h. */
  readonly input: tf.Variable<tf.Rank.R2>;
  readonly recurrent: tf.Variable<tf.Rank.R2>;
  /** Rb of the GRU's candidate [H, 1]: inside the reset product, so it is not the same as one more Wb. */
  readonly candidateBias: tf.Variable<tf.Rank.R2> | null;
  /** [H, O]. */
  readonly head: tf.Variable<tf.Rank.R2>;
  /** [1, O]. */
  readonly headBias: tf.Variable<tf.Rank.R2>;

  constructor(
    readonly kind: Kind,
    readonly sizes: Sizes,
    random: Random,
  ) {
    const { input, hidden, output } = sizes;
    const bound = 1 / Math.sqrt(hidden);
    const variable = (rows: number, cols: number) =>
      tf.variable(tf.tensor2d(random.uniforms(rows * cols, bound), [rows, cols])) as tf.Variable<tf.Rank.R2>;
    this.input = variable(gateCount[kind] * hidden, input + 1);
    this.recurrent = variable(gateCount[kind] * hidden, hidden);
    this.candidateBias = kind === 'gru' ? variable(hidden, 1) : null;
    this.head = variable(hidden, output);
    this.headBias = variable(1, output);
  }

  variables(): tf.Variable[] {
    return [this.input, this.recurrent, this.head, this.headBias, ...(this.candidateBias ? [this.candidateBias] : [])];
  }

  /**
   * Hidden states after every step, from the zero state.
   * @param steps inputs [I, batch], one for each step
   */
  run(steps: readonly tf.Tensor2D[]): tf.Tensor2D[] {
    const batch = steps[0]!.shape[1];
    const { hidden } = this.sizes;
    const ones: tf.Tensor2D = tf.ones([1, batch]);
    // A product with a row of ones adds the bias without broadcasting, which is slow on the CPU backend.
    const candidateBias = this.candidateBias && tf.matMul(this.candidateBias, ones);
    let h: tf.Tensor2D = tf.zeros([hidden, batch]);
    let c = h;
    return steps.map((x) => {
      const fromInput = tf.matMul<tf.Tensor2D>(this.input, tf.concat([x, ones], 0));
      const fromState = tf.matMul<tf.Tensor2D>(this.recurrent, h);
      const sum = () => tf.add<tf.Tensor2D>(fromInput, fromState);
      if (this.kind === 'rnn') {
        h = tf.tanh(sum());
      } else if (this.kind === 'lstm') {
        const [i, o, f, g] = tf.split(sum(), 4) as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D, tf.Tensor2D];
        c = tf.add(tf.mul(tf.sigmoid(f), c), tf.mul(tf.sigmoid(i), tf.tanh(g)));
        h = tf.mul(tf.sigmoid(o), tf.tanh(c));
      } else {
        const [xz, xr, xh] = tf.split(fromInput, 3) as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D];
        const [hz, hr, hh] = tf.split(fromState, 3) as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D];
        const z = tf.sigmoid(tf.add(xz, hz));
        const r = tf.sigmoid(tf.add(xr, hr));
        const candidate = tf.tanh(tf.add<tf.Tensor2D>(xh, tf.mul(r, tf.add(hh, candidateBias!))));
        // (1 − z)·candidate + z·h, with one product fewer.
        h = tf.add(candidate, tf.mul(z, tf.sub(h, candidate)));
      }
      return h;
    });
  }

  /** The head on hidden states, [states · batch, O]: all sequences of the first state, then of the second. */
  read(states: readonly tf.Tensor2D[]): tf.Tensor2D {
    const rows = tf.concat(
      states.map((h) => tf.matMul(h, this.head, true)),
      0,
    );
    return tf.add(rows, tf.matMul(tf.ones([rows.shape[0], 1]), this.headBias));
  }
}
