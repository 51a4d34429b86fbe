import { activation, type Activation } from '../../../network/activation.js';
import { activationNode } from '../../../truncation/activationNodes.js';
import type { GraphBuilder } from '../../onnx/graphBuilder.js';
import {
  asFloat,
  axisOf,
  floatAttribute,
  intAttribute,
  renamed,
  single,
  type LayerContext,
  type LayerConverter,
} from '../layer.js';
import type { ActivationConfig, LayerConfig } from '../layerConfig.js';

function parameter({ parameters }: ActivationConfig, names: readonly string[], fallback: number): number {
  const value = names.map((name) => parameters[name]).find((v) => typeof v === 'number');
  return typeof value === 'number' ? value : fallback;
}

/** An activation as ONNX's recurrent nodes know it; null for the others. */
export function nodeActivation(config: LayerConfig, a: ActivationConfig): Activation | null {
  switch (a.name) {
    case 'linear':
      return activation('Affine', 1, 0);
    case 'relu': {
      const slope = parameter(a, ['negative_slope', 'alpha'], 0);
      if (typeof a.parameters['max_value'] === 'number' || parameter(a, ['threshold'], 0) !== 0) return null;
      return slope === 0 ? activation('Relu') : activation('LeakyRelu', slope);
    }
    case 'leaky_relu':
      return activation('LeakyRelu', parameter(a, ['negative_slope', 'alpha'], 0.2));
    case 'elu':
      return activation('Elu', parameter(a, ['alpha'], 1));
    case 'sigmoid':
      return activation('Sigmoid');
    case 'hard_sigmoid':
      // Keras 3 changed it: relu6(x + 3) / 6.
      return activation('HardSigmoid', config.kerasMajor >= 3 ? 1 / 6 : 0.2, 0.5);
    case 'softplus':
      return activation('Softplus');
    case 'softsign':
      return activation('Softsign');
    case 'tanh':
      return activation('Tanh');
    default:
      return null;
  }
}

/** The nodes of an activation, any that Keras has. */
export function activate(config: LayerConfig, g: GraphBuilder, a: ActivationConfig, x: string): string {
  const known = nodeActivation(config, a);
  if (known) return activationNode(g, known, x);
  const mul = (left: string, right: string) => g.binary('Mul', left, right);
  const clip = (low: number, high: number) => g.node('Clip', [x, limit(g, low), limit(g, high)]);
  switch (a.name) {
    case 'relu': {
      const [max, slope, threshold] = [
        a.parameters['max_value'],
        parameter(a, ['negative_slope'], 0),
        parameter(a, ['threshold'], 0),
      ];
      if (slope !== 0 || threshold !== 0) break;
      return clip(0, typeof max === 'number' ? max : Infinity);
    }
    case 'relu6':
      return clip(0, 6);
    case 'selu':
      return g.node('Selu', [x]);
    case 'softmax':
    case 'log_softmax':
      return g.node(a.name === 'softmax' ? 'Softmax' : 'LogSoftmax', [x], [intAttribute('axis', parameter(a, ['axis'], -1))]);
    case 'exponential':
      return g.node('Exp', [x]);
    case 'swish':
    case 'silu':
      return mul(x, g.node('Sigmoid', [x]));
    case 'hard_silu':
    case 'hard_swish':
      return mul(x, g.node('HardSigmoid', [x], [floatAttribute('alpha', 1 / 6), floatAttribute('beta', 0.5)]));
    case 'mish':
      return mul(x, g.node('Tanh', [g.node('Softplus', [x])]));
    case 'gelu':
      if (a.parameters['approximate'] !== true) {
        const erf = g.node('Erf', [mul(x, g.scalar(Math.SQRT1_2))]);
        return mul(mul(x, g.scalar(0.5)), g.binary('Add', erf, g.scalar(1)));
      }
      return approximateGelu(g, x);
    case 'gelu_new':
      return approximateGelu(g, x);
    default:
  }
  return config.fail('unknown-layer', `its activation ${a.name} is not understood`);
}

/** x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³))) */
function approximateGelu(g: GraphBuilder, x: string): string {
  const mul = (left: string, right: string) => g.binary('Mul', left, right);
  const cubed = mul(mul(x, x), mul(x, g.scalar(0.044715)));
  const tanh = g.node('Tanh', [mul(g.binary('Add', x, cubed), g.scalar(Math.sqrt(2 / Math.PI)))]);
  return mul(mul(x, g.scalar(0.5)), g.binary('Add', tanh, g.scalar(1)));
}

function limit(g: GraphBuilder, value: number): string {
  return value === Infinity ? '' : g.constant(`limit_${value}`, [], [value]);
}

/** A layer that applies a function to every element. */
function elementwise(apply: (c: LayerContext, x: string) => string): LayerConverter {
  return (c, inputs) => {
    const x = single(c, inputs);
    return [renamed(x, apply(c, asFloat(c.g, x)))];
  };
}

/** Keras 3 renamed alpha to negative_slope. */
function slope(config: LayerConfig, fallback: number): number {
  return config.has('negative_slope') ? config.number('negative_slope') : config.number('alpha', fallback);
}

export const activationLayers: Readonly<Record<string, LayerConverter>> = {
  Activation: elementwise((c, x) => activate(c.config, c.g, c.config.activation('activation', 'linear'), x)),
  ReLU: elementwise((c, x) => {
    const parameters = Object.fromEntries(
      ['max_value', 'negative_slope', 'threshold'].flatMap((key) => (c.config.has(key) ? [[key, c.config.number(key)]] : [])),
    );
    return activate(c.config, c.g, { name: 'relu', parameters }, x);
  }),
  LeakyReLU: elementwise((c, x) => c.g.node('LeakyRelu', [x], [floatAttribute('alpha', slope(c.config, 0.3))])),
  ELU: elementwise((c, x) => c.g.node('Elu', [x], [floatAttribute('alpha', c.config.number('alpha', 1))])),
  ThresholdedReLU: elementwise((c, x) => activationNode(c.g, activation('ThresholdedRelu', c.config.number('theta', 1)), x)),
  PReLU: (c, inputs) => {
    const x = single(c, inputs);
    const shared = new Set(c.config.has('shared_axes') ? c.config.integers('shared_axes') : []);
    const dims = x.shape
      .slice(1)
      .map((d, i) => (shared.has(i + 1) ? 1 : (d ?? c.config.fail('bad-topology', 'its input has no known size'))));
    const alpha = c.weights.take('alpha', ['alpha'], [dims]);
    return [renamed(x, c.g.node('PRelu', [asFloat(c.g, x), c.g.constant('alpha', dims, alpha.data)]))];
  },
  Softmax: (c, inputs) => {
    const x = single(c, inputs);
    const list = c.config.has('axis') ? c.config.integers('axis') : [-1];
    if (list.length !== 1) return c.config.fail('unknown-layer', 'a softmax over several axes is not understood');
    const axis = axisOf(c, list[0]!, x.shape.length);
    return [renamed(x, c.g.node('Softmax', [asFloat(c.g, x)], [intAttribute('axis', axis)]))];
  },
};
