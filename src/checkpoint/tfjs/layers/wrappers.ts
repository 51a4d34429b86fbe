import { elementCount } from '../../onnx/tensor.js';
import { asFloat, integers, knownSize, shaped, sizesOf, type LayerConverter, single } from '../layer.js';

/** Layers that treat every position of whatever they get alike, so that steps need no separation. */
const positionwise = new Set([
  'Activation',
  'ActivityRegularization',
  'AlphaDropout',
  'Dense',
  'Dropout',
  'ELU',
  'GaussianDropout',
  'GaussianNoise',
  'LeakyReLU',
  'ReLU',
  'ThresholdedReLU',
]);

/** The inner layer at every step: with the steps as more sequences of the batch. */
const timeDistributed: LayerConverter = (c, inputs) => {
  const x = single(c, inputs);
  const layer = c.inner('layer');
  if (positionwise.has(layer.className)) return c.apply(layer, [x]);
  if (x.shape.length < 3) return c.config.fail('bad-topology', 'its input has no steps');
  const features = x.shape.slice(2).map((_, i) => knownSize(c, x, i + 2));
  const input = asFloat(c.g, x);
  const folded = shaped(c.g.reshape(input, [-1, ...features]), [null, ...features]);
  const [y] = c.apply(layer, [folded]);
  if (!y) return c.config.fail('bad-topology', 'its layer has no output');
  const after = y.shape.slice(1).map((_, i) => knownSize(c, y, i + 1));
  const [batch, time] = x.shape;
  // A stored shape can be followed where one of the two sizes is known.
  const target =
    time !== null && time !== undefined
      ? integers(c.g, [-1, time, ...after])
      : c.g.concat([sizesOf(c.g, input, 0, 2), integers(c.g, after)], 0);
  if (elementCount(after) === 0) c.config.fail('bad-topology', 'its layer gives nothing');
  return [{ ...shaped(c.g.node('Reshape', [y.name, target]), [batch!, time!, ...after]), mask: x.mask }];
};

export const wrapperLayers: Readonly<Record<string, LayerConverter>> = { TimeDistributed: timeDistributed };
