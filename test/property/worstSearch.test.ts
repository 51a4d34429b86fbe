import { describe, expect, it } from 'vitest';
import { backwardRun } from '../../src/measurement/backwardRun.js';
import { cellRunner } from '../../src/measurement/cellRunner.js';
import { measureCurve } from '../../src/measurement/measuredCurve.js';
import type { SourceSequence } from '../../src/measurement/sequences.js';
import { searchWorst, type SearchOptions, type WorstFound } from '../../src/measurement/worstSearch.js';
import { activation } from '../../src/network/activation.js';
import { matrix } from '../../src/network/matrix.js';
import type { RecurrentNetwork } from '../../src/network/network.js';
import type { Signal } from '../../src/network/signal.js';
import { signalPullback } from '../../src/network/signalPullback.js';
import { signalValue } from '../../src/network/signalValues.js';
import { errorCurve } from '../../src/stability/errorCurve.js';
import { box } from '../../src/stability/interval.js';
import { certifyNetwork, randomNetwork, type Directions } from '../support/networks.js';
import { Random } from '../support/random.js';

/** Gradients against differences, and the search against the data and against the certified bound. */

function finished<T>(run: Generator<unknown, T>): T {
  for (;;) {
    const next = run.next();
    if (next.done) return next.value;
  }
}

const layer = (size: number): Signal => ({ kind: 'layer', size, layer: 0 });

describe('the derivative of a signal, transposed', () => {
  const n = 4;
  const random = new Random(3);
  const signals: Record<string, Signal> = {
    select: { kind: 'select', size: 3, from: layer(n), index: Int32Array.of(2, 0, 2) },
    concat: { kind: 'concat', size: 2 * n, parts: [layer(n), layer(n)] },
    sum: { kind: 'sum', size: n, parts: [layer(n), layer(n), { kind: 'constant', size: n, value: random.vector(n) }] },
    linear: { kind: 'linear', size: 3, from: layer(n), matrix: matrix(3, n, random.vector(3 * n)) },
    scale: { kind: 'scale', size: n, from: layer(n), factors: random.vector(n) },
    activation: { kind: 'activation', size: n, from: layer(n), activation: activation('Sigmoid') },
    product: {
      kind: 'product',
      size: n,
      parts: [layer(n), { kind: 'activation', size: n, from: layer(n), activation: activation('Tanh') }],
    },
    softmax: { kind: 'softmax', size: n, from: layer(n), log: false },
    'log softmax': { kind: 'softmax', size: n, from: layer(n), log: true },
    normalised: { kind: 'normalised', size: n, from: layer(n), scale: random.vector(n), shift: random.vector(n), epsilon: 1e-2 },
  };

  it.each(Object.keys(signals))('%s', (name) => {
    const signal = signals[name]!;
    const noSource = (): never => {
      throw new Error('reads a source');
    };
    const x = random.vector(n);
    const seed = random.vector(signal.size);
    const along = (h: Float64Array) => signalValue(signal, noSource, () => h).reduce((sum, v, i) => sum + v * seed[i]!, 0);
    const gradient = new Float64Array(n);
    signalPullback(signal, seed, noSource, () => x, {
      source: noSource,
      table: noSource,
      layer: (_, c) => c.forEach((v, i) => (gradient[i] = gradient[i]! + v)),
    });
    for (let i = 0; i < n; i++) {
      const h = 1e-6;
      const [up, down] = [h, -h].map((d) => along(x.map((v, j) => (j === i ? v + d : v)))) as [number, number];
      expect(gradient[i]).toBeCloseTo((up - down) / (2 * h), 7);
    }
  });
});

describe.each<[Directions, number]>([
  ['forward', 2],
  ['reverse', 1],
  ['bidirectional', 1],
  ['mixed', 3],
])('back-propagation through time, %s, layers: %i', (directions, layers) => {
  it('agrees with differences', () => {
    for (let s = 0; s < 8; s++) {
      const random = new Random(900 + s);
      const network = randomNetwork(layers, directions, random);
      const steps = 9;
      const size = network.layers[0]!.inputSize;
      const source = Array.from({ length: steps }, () => random.vector(size));
      const [from, to, position] = [1, 8, random.int(1, 7)];
      const top = layers - 1;
      const seed = random.vector(network.layers[top]!.hiddenSize * network.layers[top]!.directions.length);
      const along = (x: readonly Float64Array[]) =>
        backwardRun(network, new Map([['x', x]]), from, to)
          .hidden(top, position)
          .reduce((sum, v, i) => sum + v * seed[i]!, 0);
      const gradient = source.map(() => new Float64Array(size));
      const never = (): never => {
        throw new Error('no tokens here');
      };
      backwardRun(network, new Map([['x', source]]), from, to).backward(position, new Map([[top, seed]]), {
        source: (p, _, c) => c.forEach((v, i) => (gradient[p]![i] = gradient[p]![i]! + v)),
        table: never,
      });
      for (let t = 0; t < steps; t++) {
        for (let i = 0; i < size; i++) {
          const h = 1e-6;
          const moved = (d: number) => along(source.map((x, u) => (u === t ? x.map((v, j) => (j === i ? v + d : v)) : x)));
          const difference = (moved(h) - moved(-h)) / (2 * h);
          expect(Math.abs(gradient[t]![i]! - difference), `seed ${s}, step ${t}`).toBeLessThan(1e-6 * (1 + Math.abs(difference)));
        }
      }
    }
  });
});

/** One tanh unit per feature of what it reads, times 0.8 of itself. */
function simple(input: Signal, name: 'Tanh' | 'Affine' = 'Tanh'): RecurrentNetwork {
  const gate = {
    input: matrix(1, input.size, new Float64Array(input.size).fill(1)),
    recurrent: matrix(1, 1, Float64Array.of(0.8)),
    bias: new Float64Array(1),
    activation: activation(name, 1, 0),
  };
  const cell = { kind: 'rnn' as const, inputSize: input.size, hiddenSize: 1, clip: Infinity, gate };
  return {
    layers: [
      {
        name: 'simple',
        kind: 'rnn',
        inputSize: input.size,
        hiddenSize: 1,
        directions: [{ cell, reverse: false, initialState: new Float64Array(1) }],
        input,
      },
    ],
  };
}
const x: Signal = { kind: 'source', size: 1, name: 'x', operator: null, range: null, recurrent: false };
const search = (
  network: RecurrentNetwork,
  sequences: readonly SourceSequence[],
  options: Partial<SearchOptions>,
): WorstFound | null =>
  finished(
    searchWorst(network, sequences, {
      k: 6,
      range: (_, size) => box(size, -1, 1),
      outputs: null,
      starts: [],
      time: null,
      ...options,
    }),
  );

describe('the search for a worse window', () => {
  it('finds the worst there is where that is known', () => {
    // All of the past at an end of the range: the error is 0.8^k times the largest state, 1/(1 − 0.8).
    const found = search(simple(x, 'Affine'), [], {})!;
    expect(found.error).toBeGreaterThan(0.8 ** 6 * 5 * 0.99);
    expect(found.error).toBeLessThanOrEqual(0.8 ** 6 * 5 * (1 + 1e-12));
  });

  it.each<[Directions, number]>([
    ['forward', 1],
    ['forward', 2],
    ['bidirectional', 1],
  ])('is never below the data’s worst error nor above the certified bound: %s, layers: %i', async (directions, layers) => {
    let better = 0;
    for (let s = 0; s < 12; s++) {
      const random = new Random(600 + s);
      const network = randomNetwork(layers, directions, random);
      const size = network.layers[0]!.inputSize;
      const sequences = Array.from(
        { length: 3 },
        (): SourceSequence => new Map([['x', Array.from({ length: 30 }, () => random.vector(size))]]),
      );
      const options = { maxLength: 8, windows: 500, epsilon: 1e-3, head: null };
      const { recurrent } = await measureCurve(network, sequences, cellRunner(network), options);
      const k = 4;
      const found = search(network, sequences, { k, starts: [recurrent.worstAt[k]!, recurrent.worstAt[2]!] })!;
      // Both directions of a layer are measured apart, each with k steps; the search sees them together.
      if (directions === 'forward') expect(found.error).toBeGreaterThanOrEqual(recurrent.worst[k]! * (1 - 1e-9));
      if (found.error > 1.2 * recurrent.worst[k]!) better++;
      const { bounds, contractions } = certifyNetwork(network, { lower: -1, upper: 1 });
      const { bound } = finished(errorCurve(network, bounds, contractions, 8));
      if (bound) expect(found.error, `seed ${s}`).toBeLessThanOrEqual(bound[k]! + 1e-12);
    }
    expect(better).toBeGreaterThan(4);
  });

  it('changes tokens', () => {
    const rows = matrix(5, 1, Float64Array.of(0.1, -0.2, 0.9, -0.1, 0.3));
    const network = simple({ kind: 'table', size: 1, source: 'tokens', rows }, 'Affine');
    const tokens: SourceSequence = new Map([['tokens', Array.from({ length: 40 }, () => Float64Array.of(0))]]);
    const found = search(network, [tokens], { starts: [{ sequence: 0, position: 39 }] })!;
    expect(found.error).toBeGreaterThan(0.8 ** 6 * 0.9 * 5 * 0.99);
  });

  it('attacks the model’s own outputs where it is asked to', () => {
    const output: Signal = { kind: 'scale', size: 1, from: layer(1), factors: Float64Array.of(-3) };
    const network = simple(x, 'Affine');
    expect(search(network, [], { outputs: [output] })!.error).toBeCloseTo(3 * search(network, [], {})!.error, 9);
  });

  it('does not claim inputs behind operators that are not understood', () => {
    const behind: Signal = { ...x, operator: { type: 'Erf', node: 'erf' } };
    expect(search(simple(behind), [], {})).toBeNull();
  });
});
