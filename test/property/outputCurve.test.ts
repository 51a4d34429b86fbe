import { describe, expect, it } from 'vitest';
import { finished } from '../../bench/support/cells.js';
import { cellRunner } from '../../src/measurement/cellRunner.js';
import { measureCurve, type MeasuredCurve } from '../../src/measurement/measuredCurve.js';
import { signalHead } from '../../src/measurement/outputHead.js';
import { activation } from '../../src/network/activation.js';
import { matrix } from '../../src/network/matrix.js';
import { outputLayers, type RecurrentNetwork } from '../../src/network/network.js';
import type { Signal } from '../../src/network/signal.js';
import { atLengths, errorCurve, type ErrorCurve } from '../../src/stability/errorCurve.js';
import { outputDeviation, type InputRange } from '../../src/stability/networkBounds.js';
import { randomInputBox } from '../support/cells.js';
import { certifyNetwork, randomNetwork, randomSequences, type Directions } from '../support/networks.js';
import { Random } from '../support/random.js';

/** The certified curve at the model's own outputs, for a range of its own for every feature, against what sequences of that range show. */

const maxLength = 20;

/** What models put behind their last recurrent layers. */
function head(network: RecurrentNetwork, random: Random): Signal {
  const parts = outputLayers(network).map((layer): Signal => {
    const { hiddenSize, directions } = network.layers[layer]!;
    return { kind: 'layer', size: hiddenSize * directions.length, layer };
  });
  const features = network.layers[0]!.inputSize;
  const source: Signal = { kind: 'source', size: features, name: 'x', operator: null, range: null, recurrent: false };
  if (random.chance(0.3)) parts.push(source);
  const joined: Signal = { kind: 'concat', size: parts.reduce((sum, p) => sum + p.size, 0), parts };
  const dense: Signal = { kind: 'linear', size: 3, from: joined, matrix: matrix(3, joined.size, random.vector(3 * joined.size)) };
  const constant = random.vector(3, 0.5, 1.5);
  return random.pick<() => Signal>([
    () => dense,
    () => ({ kind: 'softmax', size: 3, from: dense, log: random.chance(0.5) }),
    () => ({ kind: 'activation', size: 3, from: dense, activation: activation(random.pick(['Sigmoid', 'Relu', 'Softplus'])) }),
    () => ({
      kind: 'product',
      size: 3,
      parts: [dense, { kind: 'activation', size: 3, from: dense, activation: activation('Tanh') }],
    }),
    () => ({ kind: 'normalised', size: 3, from: dense, scale: constant, shift: new Float64Array(3), epsilon: 0.1 }),
  ])();
}

/** Largest measured error relative to the bound. */
function closest({ k, bound }: ErrorCurve, measured: MeasuredCurve): number {
  if (!bound) return 0;
  expect(measured.k).toEqual(k);
  const slack = 1e-13 * (1 + bound[0]!);
  return Math.max(...measured.worst.map((error, i) => (error <= slack ? 0 : error / (bound[i]! + slack))));
}

describe.each<[string, number, Directions, number]>([
  ['one layer', 1, 'forward', 40],
  ['a stack of two', 2, 'forward', 40],
  ['a bidirectional layer', 1, 'bidirectional', 12],
])('the error curve at the outputs of %s', (name, layers, directions, networks) => {
  it('is above every measured error, and no looser than without contractions', async () => {
    let certified = 0;
    let helped = 0;
    let tightest = 0;
    for (let seed = 0; seed < networks; seed++) {
      const random = new Random(6500 + seed);
      const network = randomNetwork(layers, directions, random);
      const box = randomInputBox(network.layers[0]!.inputSize, random);
      const x = { lower: [...box.lower], upper: [...box.upper] };
      const range: InputRange = { lower: Math.min(...x.lower), upper: Math.max(...x.upper), sources: { x } };
      const { bounds, contractions } = certifyNetwork(network, range);
      const signal = head(network, random);
      const deviation = outputDeviation([signal], bounds, range);
      const none = contractions.map((layer) => layer.map(() => []));
      const [plain, curve] = [none, contractions].map((c) => finished(errorCurve(network, bounds, c, maxLength, deviation))) as [
        ErrorCurve,
        ErrorCurve,
      ];
      const sequences = randomSequences(box, maxLength + 12, random);
      const outputs = signalHead([{ name: 'y', signal, blockedBy: null }], sequences);
      const options = { maxLength, windows: 10_000, epsilon: 1e-3, head: outputs };
      const { output, recurrent } = await measureCurve(network, sequences, cellRunner(network), options);
      const ratio = closest(curve, output!);
      expect(ratio, `${name}, seed ${seed}`).toBeLessThanOrEqual(1);
      const ofState = atLengths(finished(errorCurve(network, bounds, contractions, maxLength)), curve.k);
      expect(closest(ofState, recurrent), `${name}, seed ${seed}, recurrent`).toBeLessThanOrEqual(1);
      if (!curve.bound) continue;
      certified++;
      tightest = Math.max(tightest, ratio);
      curve.bound.forEach((v, i) => expect(v).toBeLessThanOrEqual((plain.bound?.[i] ?? Infinity) * (1 + 1e-12)));
      if (curve.bound.some((v, i) => v < (plain.bound?.[i] ?? Infinity) * 0.9)) helped++;
    }
    expect(certified).toBeGreaterThan(networks / 2);
    expect(helped).toBeGreaterThan(networks / 20);
    expect(tightest).toBeGreaterThan(0.5);
  });
});
