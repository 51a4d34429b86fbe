import { DataType } from '../checkpoint/onnx/tensor.js';
import { transposed } from '../network/matrix.js';
import type { Signal } from '../network/signal.js';
import { activationNode } from '../truncation/activationNodes.js';
import { floatAttribute, intAttribute, type GraphBuilder } from '../checkpoint/onnx/graphBuilder.js';

/**
 * The nodes of a signal over [steps, batch, features].
 * @param source tensor of a named source: [steps, batch, features], or [steps, batch] tokens for a table
 * @param layer tensor of a lower layer's output
 * @param zeros [steps, batch, 1], which gives constants their steps and batch
 */
export function signalNodes(
  g: GraphBuilder,
  signal: Signal,
  source: (name: string) => string,
  layer: (index: number) => string,
  zeros: string,
): string {
  let count = 0;
  const nodes = (s: Signal): string => {
    const key = `signal${count++}`;
    switch (s.kind) {
      case 'source':
        return source(s.name);
      case 'layer':
        return layer(s.layer);
      case 'constant':
        return g.binary('Add', zeros, g.constant(key, [s.size], s.value));
      case 'table':
        return g.node('Gather', [g.constant(key, [s.rows.rows, s.rows.cols], s.rows.data), source(s.source)]);
      case 'select': {
        const index = g.constant(key, [s.index.length], s.index, DataType.INT64);
        return g.node('Gather', [nodes(s.from), index], [intAttribute('axis', 2)]);
      }
      case 'concat':
        return g.concat(s.parts.map(nodes), 2);
      case 'sum':
        return s.parts.map(nodes).reduce((a, b) => g.binary('Add', a, b));
      case 'linear': {
        const t = transposed(s.matrix);
        return g.matMul(nodes(s.from), g.constant(key, [t.rows, t.cols], t.data));
      }
      case 'scale':
        return g.binary('Mul', nodes(s.from), g.constant(key, [s.size], s.factors));
      case 'activation':
        return activationNode(g, s.activation, nodes(s.from));
      case 'product':
        return g.binary('Mul', nodes(s.parts[0]), nodes(s.parts[1]));
      case 'softmax':
        return g.node(s.log ? 'LogSoftmax' : 'Softmax', [nodes(s.from)], [intAttribute('axis', 2)]);
      case 'normalised': {
        const parameters = [g.constant(`${key}_scale`, [s.size], s.scale), g.constant(`${key}_shift`, [s.size], s.shift)];
        const attributes = [intAttribute('axis', -1), floatAttribute('epsilon', s.epsilon)];
        return g.node('LayerNormalization', [nodes(s.from), ...parameters], attributes);
      }
    }
  };
  return nodes(signal);
}
