import { activation } from '../../network/activation.js';
import type { Signal } from '../../network/signal.js';
import { floatAttribute } from './attributes.js';
import type { NodeProto } from './onnx_pb.js';

/**
 * Elementwise operators that are made of a few others: max(x, c) is relu(x − c) + c, and so on.
 * @param from the first operand
 * @param constant a constant operand by name, one number per feature; null where it is absent or not constant
 */
export function elementwise(
  node: NodeProto,
  size: number,
  from: () => Signal | null,
  constant: (name: string) => Float64Array | null,
): Signal | null {
  const uniform = (value: number) => new Float64Array(size).fill(value);
  const scaled = (signal: Signal, factors: Float64Array): Signal => ({ kind: 'scale', size, from: signal, factors });
  const shifted = (signal: Signal, value: Float64Array): Signal => ({
    kind: 'sum',
    size,
    parts: [signal, { kind: 'constant', size, value }],
  });
  const act = (signal: Signal, name: Parameters<typeof activation>[0], alpha?: number, beta?: number): Signal => ({
    kind: 'activation',
    size,
    from: signal,
    activation: activation(name, alpha, beta),
  });
  const negative = (signal: Signal) => scaled(signal, uniform(-1));
  const atLeast = (signal: Signal, low: Float64Array) =>
    shifted(
      act(
        shifted(
          signal,
          low.map((v) => -v),
        ),
        'Relu',
      ),
      low,
    );
  const atMost = (signal: Signal, high: Float64Array) => shifted(negative(act(shifted(negative(signal), high), 'Relu')), high);

  const x = from();
  if (x?.size !== size) return null;
  switch (node.opType) {
    case 'Neg':
      return negative(x);
    case 'Abs':
      // |x| is x above zero and −1 · x below.
      return act(x, 'LeakyRelu', -1);
    case 'Clip': {
      const bound = (attribute: string, input: number): Float64Array | null | undefined => {
        const name = node.input[input] ?? '';
        if (name !== '') return constant(name);
        const value = floatAttribute(node, attribute);
        return value === undefined ? undefined : uniform(value);
      };
      const [low, high] = [bound('min', 1), bound('max', 2)];
      // An operand that is there but not constant.
      if (low === null || high === null) return null;
      const floored = low ? atLeast(x, low) : x;
      return high ? atMost(floored, high) : floored;
    }
    case 'Max':
    case 'Min': {
      const other = node.input.length === 2 ? constant(node.input[1]!) : null;
      return other && (node.opType === 'Max' ? atLeast(x, other) : atMost(x, other));
    }
    case 'PRelu': {
      const slope = constant(node.input[1] ?? '');
      return (
        slope && {
          kind: 'sum',
          size,
          parts: [
            act(x, 'Relu'),
            scaled(
              act(negative(x), 'Relu'),
              slope.map((v) => -v),
            ),
          ],
        }
      );
    }
    case 'Selu': {
      const [alpha, gamma] = [floatAttribute(node, 'alpha') ?? 1.6732632, floatAttribute(node, 'gamma') ?? 1.050701];
      return scaled(act(x, 'Elu', alpha), uniform(gamma));
    }
    case 'HardSwish':
      return { kind: 'product', size, parts: [x, act(x, 'HardSigmoid', 1 / 6, 0.5)] };
    case 'Pow':
      return constant(node.input[1] ?? '')?.every((v) => v === 2) ? { kind: 'product', size, parts: [x, x] } : null;
    default:
      return null;
  }
}
