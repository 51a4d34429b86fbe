import { DataType } from '../../onnx/tensor.js';
import {
  asFloat,
  expectRank,
  integers,
  intAttribute,
  intsAttribute,
  knownSize,
  product,
  renamed,
  reshaped,
  shaped,
  single,
  type LayerConverter,
} from '../layer.js';
import { activate } from './activations.js';

/** Layers that do something in training only. */
const identity: LayerConverter = (c, inputs) => [single(c, inputs)];

const dense: LayerConverter = (c, inputs) => {
  const x = single(c, inputs);
  const units = c.config.size('units');
  const size = knownSize(c, x, -1);
  const roles = ['kernel', 'bias'];
  const kernel = c.weights.take('kernel', roles, [[size, units]]);
  const linear = c.g.matMul(asFloat(c.g, x), c.g.constant('kernel', [size, units], kernel.data));
  let sum = linear;
  if (c.config.boolean('use_bias', true)) {
    const bias = c.weights.take('bias', roles, [[units]]);
    sum = c.g.binary('Add', linear, c.g.constant('bias', [units], bias.data));
  }
  const y = activate(c.config, c.g, c.config.activation('activation', 'linear'), sum);
  return [{ ...renamed(x, y), shape: [...x.shape.slice(0, -1), units] }];
};

const embedding: LayerConverter = (c, inputs) => {
  const x = single(c, inputs);
  const dims = [c.config.size('input_dim'), c.config.size('output_dim')] as const;
  const table = c.weights.take('embeddings', ['embeddings'], [dims]);
  // TF.js takes tokens of any type and cuts their fractions off, as Cast does.
  const integral = x.type === DataType.INT32 || x.type === DataType.INT64;
  const tokens = integral ? x.name : c.g.node('Cast', [x.name], [intAttribute('to', DataType.INT64)]);
  const rows = c.g.node('Gather', [c.g.constant('embeddings', dims, table.data), tokens], [intAttribute('axis', 0)]);
  const bounds = {
    lower: table.data.reduce((a, v) => Math.min(a, v), Infinity),
    upper: table.data.reduce((a, v) => Math.max(a, v), -Infinity),
  };
  const value = { ...shaped(rows, [...x.shape, dims[1]]), bounds };
  if (!c.config.boolean('mask_zero', false)) return [value];
  const isZero = c.g.node('Equal', [tokens, c.g.constant('zero', [1], [0], integral ? x.type : DataType.INT64)]);
  return [{ ...value, mask: c.g.node('Not', [isZero]) }];
};

const masking: LayerConverter = (c, inputs) => {
  const x = single(c, inputs);
  const value = c.config.number('mask_value', 0);
  const input = asFloat(c.g, x);
  const differs = c.g.node('Not', [c.g.node('Equal', [input, c.g.scalar(value)])]);
  const asNumber = c.g.node('Cast', [differs], [intAttribute('to', DataType.FLOAT)]);
  const any = c.g.node('ReduceMax', [asNumber], [intsAttribute('axes', [-1]), intAttribute('keepdims', 1)]);
  const squeezed = c.g.squeeze(any, x.shape.length - 1);
  const mask = c.g.node('Cast', [squeezed], [intAttribute('to', DataType.BOOL)]);
  return [{ ...renamed(x, c.g.binary('Mul', input, any)), mask }];
};

const flatten: LayerConverter = (c, inputs) => {
  const x = single(c, inputs);
  const first = c.config.has('data_format') && c.config.text('data_format', '').replace('F', '_f') === 'channels_first';
  const rank = x.shape.length;
  const ordered = first ? c.g.transpose(x.name, [0, ...Array.from({ length: rank - 2 }, (_, i) => i + 2), 1]) : x.name;
  return [reshaped(c, { ...x, name: ordered }, [x.shape[0]!, product(x.shape.slice(1))])];
};

const reshape: LayerConverter = (c, inputs) => {
  const x = single(c, inputs);
  const target = c.config.shape('target_shape');
  if (!target) return c.config.fail('bad-layer', 'it states no target_shape');
  const total = product(x.shape.slice(1));
  const rest = product(target.filter((d) => d !== null)) ?? 1;
  const open = target.filter((d) => d === null).length;
  if (total !== null && (open === 0 ? total !== rest : total % rest !== 0)) {
    c.config.fail(
      'bad-topology',
      `its input of ${total} numbers cannot take the shape [${target.map((d) => d ?? '?').join(', ')}]`,
    );
  }
  return [reshaped(c, x, [x.shape[0]!, ...target.map((d) => d ?? (total !== null && open === 1 ? total / rest : null))])];
};

const repeatVector: LayerConverter = (c, inputs) => {
  const x = single(c, inputs);
  expectRank(c, x, 2);
  const n = c.config.size('n');
  const repeated = c.g.node('Expand', [c.g.unsqueeze(x.name, 1), integers(c.g, [1, n, 1])]);
  return [shaped(repeated, [x.shape[0]!, n, x.shape[1]!])];
};

const permute: LayerConverter = (c, inputs) => {
  const x = single(c, inputs);
  const perm = [0, ...c.config.integers('dims')];
  const rank = x.shape.length;
  if (perm.length !== rank || new Set(perm).size !== rank || perm.some((p) => p < 0 || p >= rank)) {
    c.config.fail('bad-layer', `its dims [${perm.slice(1).join(', ')}] are no order of ${rank - 1} axes`);
  }
  return [
    shaped(
      c.g.transpose(x.name, perm),
      perm.map((p) => x.shape[p]!),
    ),
  ];
};

export const coreLayers: Readonly<Record<string, LayerConverter>> = {
  Dense: dense,
  Embedding: embedding,
  Masking: masking,
  Flatten: flatten,
  Reshape: reshape,
  RepeatVector: repeatVector,
  Permute: permute,
  Dropout: identity,
  SpatialDropout1D: identity,
  SpatialDropout2D: identity,
  GaussianNoise: identity,
  GaussianDropout: identity,
  AlphaDropout: identity,
  ActivityRegularization: identity,
};
