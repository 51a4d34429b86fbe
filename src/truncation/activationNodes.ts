import type { Activation } from '../network/activation.js';
import { floatAttribute, intAttribute, type GraphBuilder } from '../checkpoint/onnx/graphBuilder.js';

/** The nodes of one activation. */
export function activationNode(g: GraphBuilder, act: Activation, x: string): string {
  switch (act.name) {
    case 'Affine': {
      const scaled = act.alpha === 1 ? x : g.binary('Mul', x, g.scalar(act.alpha), true);
      return act.beta === 0 ? scaled : g.binary('Add', scaled, g.scalar(act.beta), true);
    }
    case 'ScaledTanh': {
      const inner = act.beta === 1 ? x : g.binary('Mul', x, g.scalar(act.beta), true);
      const tanh = g.node('Tanh', [inner]);
      return act.alpha === 1 ? tanh : g.binary('Mul', tanh, g.scalar(act.alpha), true);
    }
    case 'ThresholdedRelu':
      if (g.opset < 10) {
        // The operator is younger than the recurrent nodes that name it.
        const above = g.node('Cast', [g.binary('Greater', x, g.scalar(act.alpha), true)], [intAttribute('to', g.type)]);
        return g.binary('Mul', x, above);
      }
      return g.node(act.name, [x], [floatAttribute('alpha', act.alpha)]);
    case 'Elu':
    case 'LeakyRelu':
      return g.node(act.name, [x], [floatAttribute('alpha', act.alpha)]);
    case 'HardSigmoid':
      return g.node('HardSigmoid', [x], [floatAttribute('alpha', act.alpha), floatAttribute('beta', act.beta)]);
    default:
      return g.node(act.name, [x]);
  }
}
