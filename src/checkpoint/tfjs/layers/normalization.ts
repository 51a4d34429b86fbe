import {
  asFloat,
  axisOf,
  floatAttribute,
  intAttribute,
  intsAttribute,
  knownSize,
  renamed,
  single,
  type LayerContext,
  type LayerConverter,
} from '../layer.js';

/** gamma and beta, ones and zeros where the layer has none. */
function scaleAndShift(
  c: LayerContext,
  roles: readonly string[],
  dims: readonly number[],
): { gamma: Float64Array; beta: Float64Array } {
  const size = dims.reduce((a, b) => a * b, 1);
  const read = (key: string, role: string, fallback: number) =>
    c.config.boolean(key, true) ? c.weights.take(role, roles, [dims]).data : new Float64Array(size).fill(fallback);
  return { gamma: read('scale', 'gamma', 1), beta: read('center', 'beta', 0) };
}

function weightRoles(c: LayerContext): string[] {
  return [...(c.config.boolean('scale', true) ? ['gamma'] : []), ...(c.config.boolean('center', true) ? ['beta'] : [])];
}

/** In inference a scale and a shift for every channel. */
const batchNormalization: LayerConverter = (c, inputs) => {
  const x = single(c, inputs);
  const rank = x.shape.length;
  const axis = axisOf(c, c.config.integers('axis', [-1])[0]!, rank);
  const size = knownSize(c, x, axis);
  const roles = [...weightRoles(c), 'moving_mean', 'moving_variance'];
  const { gamma, beta } = scaleAndShift(c, roles, [size]);
  const mean = c.weights.take('moving_mean', roles, [[size]]).data;
  const variance = c.weights.take('moving_variance', roles, [[size]]).data;
  const epsilon = c.config.number('epsilon', 1e-3);
  const factors = gamma.map((s, i) => s / Math.sqrt(variance[i]! + epsilon));
  const shift = beta.map((b, i) => b - mean[i]! * factors[i]!);
  const dims = axis === rank - 1 ? [size] : x.shape.slice(axis).map((_, i) => (i === 0 ? size : 1));
  const scaled = c.g.binary('Mul', asFloat(c.g, x), c.g.constant('scale', dims, factors));
  return [renamed(x, c.g.binary('Add', scaled, c.g.constant('shift', dims, shift)))];
};

const layerNormalization: LayerConverter = (c, inputs) => {
  const x = single(c, inputs);
  const rank = x.shape.length;
  const axes = c.config
    .integers('axis', [-1])
    .map((a) => axisOf(c, a, rank))
    .sort((a, b) => a - b);
  const dims = axes.map((a) => knownSize(c, x, a));
  const roles = weightRoles(c);
  const { gamma, beta } = scaleAndShift(c, roles, dims);
  const epsilon = c.config.number('epsilon', 1e-3);
  const input = asFloat(c.g, x);
  const trailing = axes.every((a, i) => a === rank - axes.length + i);
  if (trailing) {
    const operands = [input, c.g.constant('gamma', dims, gamma), c.g.constant('beta', dims, beta)];
    return [
      renamed(x, c.g.node('LayerNormalization', operands, [intAttribute('axis', axes[0]!), floatAttribute('epsilon', epsilon)])),
    ];
  }
  const mean = (of: string) => c.g.node('ReduceMean', [of], [intsAttribute('axes', axes), intAttribute('keepdims', 1)]);
  const centred = c.g.binary('Sub', input, mean(input));
  const deviation = c.g.node('Sqrt', [c.g.binary('Add', mean(c.g.binary('Mul', centred, centred)), c.g.scalar(epsilon))]);
  const wide = x.shape.map((_, i) => (axes.includes(i) ? dims[axes.indexOf(i)]! : 1));
  const scaled = c.g.binary('Mul', c.g.binary('Div', centred, deviation), c.g.constant('gamma', wide, gamma));
  return [renamed(x, c.g.binary('Add', scaled, c.g.constant('beta', wide, beta)))];
};

export const normalizationLayers: Readonly<Record<string, LayerConverter>> = {
  BatchNormalization: batchNormalization,
  LayerNormalization: layerNormalization,
};
