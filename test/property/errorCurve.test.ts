import { describe, expect, it } from 'vitest';
import { activation } from '../../src/network/activation.js';
import { matrix } from '../../src/network/matrix.js';
import type { RecurrentNetwork } from '../../src/network/network.js';
import { cellRunner } from '../../src/measurement/cellRunner.js';
import { measureCurve } from '../../src/measurement/measuredCurve.js';
import { errorCurve, smallestLength, type Contractions, type ErrorCurve } from '../../src/stability/errorCurve.js';
import { box } from '../../src/stability/interval.js';
import { boundNetwork, type LayerBounds } from '../../src/stability/networkBounds.js';
import { finished } from '../../bench/support/cells.js';
import { certifyNetwork, randomNetwork, randomSequences, type Directions } from '../support/networks.js';
import { Random } from '../support/random.js';

/** The certified error curve is never below what truncation costs on any sequence of the stated range. */

const range = { lower: -1, upper: 1.5 };
const maxLength = 24;

/** No contraction for any direction: the comparison operator alone. */
const none = (network: RecurrentNetwork): Contractions => network.layers.map((layer) => layer.directions.map(() => []));

/** Worst error over sequences that show forgetting from several sides, at every length. */
async function measured(network: RecurrentNetwork, random: Random) {
  const sequences = randomSequences(box(network.layers[0]!.inputSize, range.lower, range.upper), maxLength + 16, random);
  const options = { maxLength, windows: 10_000, epsilon: 1e-3, head: null };
  return (await measureCurve(network, sequences, cellRunner(network), options)).recurrent;
}

/** Largest measured error relative to the bound, over all lengths; 0 where no bound was found. */
async function attackCurve(
  network: RecurrentNetwork,
  { k, bound }: ErrorCurve,
  random: Random,
  errors = measured(network, random),
): Promise<number> {
  if (!bound) return 0;
  const { k: lengths, worst } = await errors;
  expect(lengths).toEqual(k);
  const slack = 1e-13 * (1 + bound[0]!);
  return Math.max(...worst.map((error, i) => (error <= slack ? 0 : error / (bound[i]! + slack))));
}

// Layers that do not all run one way need a window of their own for every length, and are dear to measure.
describe.each<[string, number, Directions, number]>([
  ['one forward layer', 1, 'forward', 40],
  ['one reverse layer', 1, 'reverse', 40],
  ['one bidirectional layer', 1, 'bidirectional', 40],
  ['a forward stack of two', 2, 'forward', 40],
  ['a forward stack of three', 3, 'forward', 40],
  ['a reverse stack', 2, 'reverse', 40],
  ['a bidirectional stack', 2, 'bidirectional', 14],
  ['a stack of mixed directions', 3, 'mixed', 14],
])('the error curve of %s', (name, layers, directions, networks) => {
  it('is above every measured error', async () => {
    let certified = 0;
    let useful = 0;
    let helped = 0;
    for (let seed = 0; seed < networks; seed++) {
      const random = new Random(5000 + seed);
      const network = randomNetwork(layers, directions, random);
      const plain = finished(errorCurve(network, boundNetwork(network, range), none(network), maxLength));
      const errors = measured(network, random);
      expect(await attackCurve(network, plain, random, errors), `${name}, seed ${seed}, comparison operator`).toBeLessThanOrEqual(
        1,
      );
      const { bounds, contractions } = certifyNetwork(network, range);
      const curve = finished(errorCurve(network, bounds, contractions, maxLength));
      expect(await attackCurve(network, curve, random, errors), `${name}, seed ${seed}, all certificates`).toBeLessThanOrEqual(1);
      if (!curve.bound) continue;
      // What is known besides can only tighten the curve.
      curve.bound.forEach((v, i) => expect(v).toBeLessThanOrEqual((plain.bound?.[i] ?? Infinity) * (1 + 1e-12)));
      if (curve.bound.some((v, i) => v < (plain.bound?.[i] ?? Infinity) * 0.9)) helped++;
      certified++;
      if (curve.bound[curve.bound.length - 1]! < curve.bound[0]! / 4) useful++;
    }
    expect(certified).toBeGreaterThan(networks / 2);
    expect(useful).toBeGreaterThan(networks / 10);
    expect(helped).toBeGreaterThan(networks / 20);
  });
});

describe('the smallest length', () => {
  it('is the one from which on the error stays at or below ε', () => {
    const k = [0, 1, 2, 4, 8];
    expect(smallestLength(k, [1, 0.5, 0.1, 0.1, 0.05], 0.1)).toBe(2);
    // Below ε at k = 1, above again at k = 2.
    expect(smallestLength(k, [1, 0.05, 0.5, 0.1, 0.05], 0.1)).toBe(4);
    expect(smallestLength(k, [0, 0, 0, 0, 1], 0.1)).toBeNull();
    expect(smallestLength(k, [0, 0, 0], 0.1)).toBe(0);
    expect(smallestLength(k, [], 0.1)).toBeNull();
  });
});

describe('a linear cell of one unit, whose error curve is known exactly', () => {
  const linear = (recurrent: number, below: number | null): RecurrentNetwork['layers'][number] => ({
    name: 'linear',
    kind: 'rnn',
    inputSize: 1,
    hiddenSize: 1,
    directions: [
      {
        cell: {
          kind: 'rnn',
          inputSize: 1,
          hiddenSize: 1,
          clip: Infinity,
          gate: {
            input: matrix(1, 1, Float64Array.of(1)),
            recurrent: matrix(1, 1, Float64Array.of(recurrent)),
            bias: new Float64Array(1),
            activation: activation('Affine', 1, 0),
          },
        },
        reverse: false,
        initialState: new Float64Array(1),
      },
    ],
    input:
      below === null
        ? { kind: 'source', size: 1, name: 'x', operator: null, range: null, recurrent: false }
        : { kind: 'layer', size: 1, layer: below },
  });
  const bounded = (network: RecurrentNetwork) => boundNetwork(network, range);
  const curveOf = (network: RecurrentNetwork, bounds: readonly LayerBounds[], contractions = none(network)) =>
    finished(errorCurve(network, bounds, contractions, maxLength));

  it.each([
    ['from the comparison operator', false],
    ['with all certificates', true],
  ])('is 0.8^k times the largest state, %s', (_, all) => {
    const network = { layers: [linear(0.8, null)] };
    const { bounds, contractions } = all
      ? certifyNetwork(network, range)
      : { bounds: bounded(network), contractions: none(network) };
    const { k, bound } = curveOf(network, bounds, contractions);
    const largest = range.upper / (1 - 0.8);
    k.forEach((length, i) => {
      expect(bound![i]! / (largest * 0.8 ** length)).toBeGreaterThanOrEqual(1 - 1e-12);
      expect(bound![i]! / (largest * 0.8 ** length)).toBeLessThan(1.005);
    });
    expect(smallestLength(k, bound!, 0.1)).toBe(Math.ceil(Math.log(0.1 / (largest * 1.0001)) / Math.log(0.8)));
  });

  it('and a curve that is 2 % too low, or that forgets the error of the layer below, is caught', async () => {
    const random = new Random(1);
    const one = { layers: [linear(0.8, null)] };
    const honest = curveOf(one, bounded(one));
    expect(await attackCurve(one, honest, random)).toBeLessThanOrEqual(1);
    // Inputs held at the end of the range come within 2 % of the bound after a few steps.
    expect(await attackCurve(one, { ...honest, bound: honest.bound!.map((b) => b * 0.98) }, random)).toBeGreaterThan(1);
    const two = { layers: [linear(0.9, null), linear(0.1, 0)] };
    const bounds = bounded(two);
    expect(await attackCurve(two, curveOf(two, bounds), random)).toBeLessThanOrEqual(1);
    const forgetful = bounds.map((b) => ({ ...b, inputDeviation: null }));
    expect(await attackCurve(two, curveOf(two, forgetful), random)).toBeGreaterThan(1);
    const { bounds: certified, contractions } = certifyNetwork(two, range);
    expect(await attackCurve(two, curveOf(two, certified, contractions), random)).toBeLessThanOrEqual(1);
    // The smallest of all bounds counts, so that one contraction that claims too much spoils the curve.
    const shrunk = contractions.map((layer) => layer.map((d) => d.map((c) => ({ ...c, lambda: 0.95 * c.lambda }))));
    expect(await attackCurve(two, curveOf(two, certified, shrunk), random)).toBeGreaterThan(1);
  });

  it('a curve can rise from one length to the next, so that a bound speaks of its own length only', async () => {
    // The first unit hears the second weakly, the second hears the first loudly but saturates.
    const layer = linear(0, null);
    const { cell } = layer.directions[0]!;
    const gate = {
      input: matrix(2, 1, Float64Array.of(1, 0)),
      recurrent: matrix(2, 2, Float64Array.of(0, 0.005, 100, 0)),
      bias: new Float64Array(2),
      activation: activation('Tanh'),
    };
    const two = { ...cell, kind: 'rnn' as const, hiddenSize: 2, gate };
    const directions = [{ cell: two, reverse: false, initialState: new Float64Array(2) }];
    const network: RecurrentNetwork = { layers: [{ ...layer, kind: 'rnn', hiddenSize: 2, directions }] };
    const curve = curveOf(network, bounded(network));
    expect(curve.bound!.some((b, i) => i > 0 && b > 1.2 * curve.bound![i - 1]!)).toBe(true);
    expect(await attackCurve(network, curve, new Random(2))).toBeLessThanOrEqual(1);
  });
});
