import { describe, expect, it } from 'vitest';
import { writeModel } from '../../src/checkpoint/onnx/model.js';
import { readOnnx } from '../../src/checkpoint/onnx/reader.js';
import { DataType, type Tensor } from '../../src/checkpoint/onnx/tensor.js';
import { activationNames, takesAlpha, takesBeta, type ActivationName } from '../../src/network/activation.js';
import { truncateToWindow } from '../../src/truncation/window.js';
import type { Attributes } from '../support/onnxModel.js';
import { Random } from '../support/random.js';
import {
  buildNodeModel,
  directionsOf,
  randomSpec,
  testedOpsets,
  type NodeModel,
  type NodeSpec,
  type Operator,
} from '../support/recurrentModel.js';
import { largestError, runNode } from '../support/reference.js';
import { runModel } from '../support/runtime.js';

/**
 * Random single-node models: ONNX Runtime's own RNN, LSTM and GRU against our cell equations in float64 and against the
 * unrolled export in ONNX Runtime. ONNX Runtime approximates sigmoid and tanh in float32 to about 1e-7.
 */
const tolerance = { [DataType.FLOAT]: 5e-6, [DataType.DOUBLE]: 1e-12 } as Record<number, number>;

function byEquations({ bytes, feeds }: NodeModel): Map<string, ArrayLike<number>> {
  const checkpoint = readOnnx(bytes, new Map());
  const { y, yH, yC } = runNode(checkpoint.nodes[0]!, (name) => feeds.get(name) ?? checkpoint.constants.value(name)!);
  return new Map([['Y', y], ['Y_h', yH], ...(yC ? [['Y_c', yC] as const] : [])]);
}

async function unrolled({ bytes, feeds }: NodeModel, steps: number): Promise<Map<string, Tensor>> {
  const { model } = truncateToWindow(readOnnx(bytes, new Map()), steps, steps);
  expect(model.graph.node.map((n) => n.opType).filter((op) => /^(RNN|LSTM|GRU|Loop|Scan|If)$/.test(op))).toEqual([]);
  return runModel(writeModel(model), feeds);
}

let compared = 0;

/** @param runs false where ONNX Runtime cannot run the original; the two of ours are then compared with each other */
async function expectAgreement(spec: NodeSpec, random: Random, runs = true): Promise<void> {
  const built = buildNodeModel(spec, random);
  const equations = byEquations(built);
  const exported = await unrolled(built, spec.steps);
  const original = runs ? await runModel(built.bytes, built.feeds) : null;
  const label = JSON.stringify({ ...spec, type: DataType[spec.type] });
  for (const output of built.outputs) {
    const wanted = original?.get(output)!.data ?? equations.get(output)!;
    expect(largestError(equations.get(output)!, wanted), `${output} by the equations, ${label}`).toBeLessThan(
      tolerance[spec.type]!,
    );
    expect(largestError(exported.get(output)!.data, wanted), `${output} of the export, ${label}`).toBeLessThan(
      tolerance[spec.type]!,
    );
  }
  compared++;
}

/** Values for the alphas and betas that the activations take, in order; only the first `given` of each list. */
function parameters(names: readonly ActivationName[], random: Random, given = Infinity): Attributes {
  const list = (takes: (name: ActivationName) => boolean, low: number, high: number) => {
    const values = names.filter(takes).map(() => random.uniform(low, high));
    return values.length === 0 ? undefined : values.slice(0, given);
  };
  const lists = { activation_alpha: list(takesAlpha, 0.1, 0.9), activation_beta: list(takesBeta, 0.1, 0.9) };
  return { activations: names, ...lists };
}

const seeds = (from: number, count: number) => Array.from({ length: count }, (_, i) => from + i);
const hasOnnxDefaults = activationNames.filter((name) => name !== 'Affine' && name !== 'ScaledTanh');
/** ONNX Runtime starts ThresholdedRelu from 0 where ONNX says 1; a test of its own shows that. */
const agreeOnDefaults = hasOnnxDefaults.filter((name) => name !== 'ThresholdedRelu');

describe('a recurrent node gives what ONNX Runtime gives', () => {
  it.each(seeds(100, 24))('RNN with nothing unusual, seed %i', async (seed) => {
    const random = new Random(seed);
    await expectAgreement(randomSpec('RNN', random), random);
  });

  it.each(activationNames)('RNN with %s, alpha and beta given', async (name) => {
    for (const seed of seeds(200, 3)) {
      const random = new Random(seed);
      const spec = { ...randomSpec('RNN', random), scale: 0.5 };
      const names = Array.from({ length: directionsOf(spec) }, () => name);
      await expectAgreement({ ...spec, attributes: parameters(names, random) }, random);
    }
  });

  it('RNN with alpha and beta lists shorter than the activations: ONNX defaults for the rest', async () => {
    for (const seed of seeds(300, 12)) {
      const random = new Random(seed);
      const spec = { ...randomSpec('RNN', random), direction: 'bidirectional' as const, scale: 0.5 };
      const names = [random.pick(activationNames), random.pick(agreeOnDefaults)];
      const lists = parameters(names, random);
      const cut = (key: 'activation_alpha' | 'activation_beta', takes: (n: ActivationName) => boolean) =>
        takes(names[0]!) ? (lists[key] as readonly number[]).slice(0, 1) : undefined;
      const attributes = {
        activations: names,
        activation_alpha: cut('activation_alpha', takesAlpha),
        activation_beta: cut('activation_beta', takesBeta),
      };
      await expectAgreement({ ...spec, attributes }, random);
    }
  });

  it.each(seeds(400, 40))('LSTM with peepholes, clip and coupled gates in any mixture, seed %i', async (seed) => {
    const random = new Random(seed);
    const attributes = {
      clip: random.chance(0.4) ? random.uniform(0.1, 1.5) : undefined,
      input_forget: random.chance(0.4) ? 1 : undefined,
    };
    await expectAgreement({ ...randomSpec('LSTM', random), peepholes: random.chance(0.5), attributes }, random);
  });

  it.each(activationNames)('LSTM with %s in each of its three places', async (name) => {
    for (const place of [0, 1, 2]) {
      const random = new Random(500 + place);
      const spec = { ...randomSpec('LSTM', random), scale: 0.4, peepholes: place === 0 };
      const one: ActivationName[] = ['Sigmoid', 'Tanh', 'Tanh'];
      one[place] = name;
      const names = Array.from({ length: directionsOf(spec) }, () => one).flat();
      await expectAgreement({ ...spec, attributes: parameters(names, random) }, random);
    }
  });

  it.each(seeds(600, 40))('GRU with either reset form and clip, seed %i', async (seed) => {
    const random = new Random(seed);
    const attributes = {
      clip: random.chance(0.4) ? random.uniform(0.1, 1.5) : undefined,
      linear_before_reset: seed % 2,
    };
    await expectAgreement({ ...randomSpec('GRU', random), attributes }, random);
  });

  it.each(activationNames)('GRU with %s in each of its two places', async (name) => {
    for (const place of [0, 1]) {
      const random = new Random(700 + place);
      // A gate that leaves [0, 1] makes the state grow; short sequences keep it small enough to compare.
      const spec = { ...randomSpec('GRU', random), scale: 0.4, steps: 4, lengths: null };
      const one: ActivationName[] = ['Sigmoid', 'Tanh'];
      one[place] = name;
      const names = Array.from({ length: directionsOf(spec) }, () => one).flat();
      const attributes = { ...parameters(names, random), linear_before_reset: place };
      await expectAgreement({ ...spec, attributes }, random);
    }
  });

  it.each(testedOpsets)('every operator at opset %i with sequence_lens, initial states and clip', async (opset) => {
    for (const operator of ['RNN', 'LSTM', 'GRU'] as const) {
      const random = new Random(800 + opset);
      const spec: NodeSpec = {
        ...randomSpec(operator, random),
        opset,
        direction: 'bidirectional',
        steps: 5,
        batch: 3,
        lengths: [5, 2, 3],
        initialState: random.pick(['none', 'input', 'constant']),
        attributes: { clip: 0.8 },
      };
      await expectAgreement(spec, random);
    }
  });

  it.each<Operator>(['RNN', 'LSTM', 'GRU'])('%s in float64 as far as ONNX Runtime goes', async (operator) => {
    for (const seed of seeds(900, 6)) {
      const random = new Random(seed);
      await expectAgreement(
        { ...randomSpec(operator, random), opset: random.pick([13, 14, 21]), type: DataType.DOUBLE },
        random,
        false,
      );
    }
    const random = new Random(999);
    const { bytes, feeds } = buildNodeModel({ ...randomSpec(operator, random), type: DataType.DOUBLE }, random);
    await expect(runModel(bytes, feeds)).rejects.toThrow(/double|Could not find an implementation/);
  });

  it('on more than 150 models', () => expect(compared).toBeGreaterThan(150));
});

describe('where ONNX Runtime and ONNX differ', () => {
  const spec = (operator: Operator, attributes: Attributes): NodeSpec => ({
    ...randomSpec(operator, new Random(1)),
    direction: 'forward',
    lengths: null,
    scale: 1,
    steps: 4,
    attributes,
  });
  const run = (attributes: Attributes) => buildNodeModel(spec('RNN', attributes), new Random(2));

  it('ThresholdedRelu without alpha: ours is ONNX’s 1, ONNX Runtime takes 0', async () => {
    const names = { activations: ['ThresholdedRelu'] };
    const without = run(names);
    const one = run({ ...names, activation_alpha: [1] });
    const zero = run({ ...names, activation_alpha: [0] });
    expect(byEquations(without)).toEqual(byEquations(one));
    const original = await runModel(without.bytes, without.feeds);
    expect(original.get('Y')!.data).toEqual((await runModel(zero.bytes, zero.feeds)).get('Y')!.data);
    expect(original.get('Y')!.data).not.toEqual((await runModel(one.bytes, one.feeds)).get('Y')!.data);
  });

  it.each(['Affine', 'ScaledTanh'])(
    '%s without alpha or beta is refused: ONNX has no default, ONNX Runtime takes 0',
    async (name) => {
      const model = run({ activations: [name] });
      expect(() => readOnnx(model.bytes, new Map())).toThrow(/needs a value in activation_alpha, for which ONNX has no default/);
      expect((await runModel(model.bytes, model.feeds)).get('Y')!.data.every((v) => v === 0)).toBe(true);
      const half = run({ activations: [name], activation_alpha: [0.5] });
      expect(() => readOnnx(half.bytes, new Map())).toThrow(/needs a value in activation_beta/);
    },
  );

  it.each([0, -1, NaN])(
    'clip = %d is refused; ONNX Runtime refuses it in LSTM and GRU, and has no use for it in RNN',
    async (clip) => {
      for (const operator of ['RNN', 'LSTM', 'GRU'] as const) {
        const model = buildNodeModel(spec(operator, { clip }), new Random(2));
        expect(() => readOnnx(model.bytes, new Map())).toThrow(/clip is (0|-1|NaN), not a positive number/);
        if (operator !== 'RNN') await expect(runModel(model.bytes, model.feeds)).rejects.toThrow();
      }
    },
  );

  it('Softplus of large numbers: ours is exact, ONNX Runtime overflows inside recurrent nodes', async () => {
    const { bytes, feeds } = buildNodeModel(
      { ...spec('RNN', { activations: ['Softplus'] }), steps: 1, scale: 60 },
      new Random(2),
    );
    const large = new Map([...feeds].map(([name, t]) => [name, { ...t, data: t.data.map(() => 4) }]));
    const ours = byEquations({ bytes, feeds: large, outputs: [] }).get('Y')!;
    expect(Array.from(ours).every(Number.isFinite)).toBe(true);
    expect((await runModel(bytes, large)).get('Y')!.data.some((v) => v === Infinity)).toBe(true);
    expect(largestError((await unrolled({ bytes, feeds: large, outputs: [] }, 1)).get('Y')!.data, ours)).toBeLessThan(1e-5);
  });

  it('layout = 1: the export runs, with all that can go with it; ONNX Runtime refuses the original', async () => {
    for (const operator of ['RNN', 'LSTM', 'GRU'] as const) {
      for (const seed of seeds(950, 6)) {
        const random = new Random(seed);
        const opset = random.pick([14, 17, 22]);
        const batchFirst = { ...randomSpec(operator, random), opset, attributes: { layout: 1 } };
        await expectAgreement(batchFirst, random, false);
        const { bytes, feeds } = buildNodeModel(batchFirst, random);
        await expect(runModel(bytes, feeds)).rejects.toThrow(/layout/);
      }
    }
  });
});
