import type { AttributeProto } from '../../onnx/onnx_pb.js';
import {
  asFloat,
  expectRank,
  intAttribute,
  integers,
  intsAttribute,
  knownSize,
  shaped,
  single,
  stringAttribute,
  type LayerContext,
  type LayerConverter,
  type Value,
} from '../layer.js';
import { activate } from './activations.js';

/** Convolutions and pooling. Keras keeps the channels last, ONNX second. */

function channelsFirst(c: LayerContext): boolean {
  return c.config.text('data_format', 'channels_last').replace('F', '_f') === 'channels_first';
}

function toFirst(c: LayerContext, name: string, rank: number): string {
  return c.g.transpose(name, [0, rank + 1, ...Array.from({ length: rank }, (_, i) => i + 1)]);
}

function toLast(c: LayerContext, name: string, rank: number): string {
  return c.g.transpose(name, [0, ...Array.from({ length: rank }, (_, i) => i + 2), 1]);
}

/** What a window of `extent` positions leaves of an axis. */
function outputSize(size: number | null, extent: number, stride: number, padding: string): number | null {
  if (size === null) return null;
  return padding === 'valid' ? Math.floor((size - extent) / stride) + 1 : Math.ceil(size / stride);
}

function paddingOf(c: LayerContext): 'valid' | 'same' | 'causal' {
  const padding = c.config.text('padding', 'valid').toLowerCase();
  if (padding === 'valid' || padding === 'same' || padding === 'causal') return padding;
  return c.config.fail('bad-layer', `its padding is "${padding}"`);
}

/** Applies an operator that has the channels second, whatever the layer has. */
function spatially(
  c: LayerContext,
  inputs: readonly Value[],
  rank: number,
  window: { extent: readonly number[]; strides: readonly number[]; padding: string; channels: number | null },
  apply: (x: string) => string,
): { name: string; shape: (number | null)[] } {
  const x = single(c, inputs);
  expectRank(c, x, rank + 2);
  const first = channelsFirst(c);
  const input = asFloat(c.g, x);
  const y = apply(first ? input : toFirst(c, input, rank));
  const sizes = x.shape.slice(first ? 2 : 1, first ? undefined : -1);
  const after = sizes.map((size, i) => outputSize(size, window.extent[i]!, window.strides[i]!, window.padding));
  if (after.some((size) => size !== null && size < 1)) c.config.fail('bad-topology', 'its input is shorter than its window');
  const channels = window.channels ?? x.shape.at(first ? 1 : -1)!;
  return {
    name: first ? y : toLast(c, y, rank),
    shape: first ? [x.shape[0]!, channels, ...after] : [x.shape[0]!, ...after, channels],
  };
}

function convolution(rank: number): LayerConverter {
  return (c, inputs) => {
    const filters = c.config.size('filters');
    const kernel = c.config.spatial('kernel_size', rank);
    const strides = c.config.spatial('strides', rank, [1]);
    const dilations = c.config.spatial('dilation_rate', rank, [1]);
    const groups = c.config.size('groups', 1);
    const padding = paddingOf(c);
    const channels = knownSize(c, single(c, inputs), channelsFirst(c) ? 1 : -1) / groups;
    const roles = ['kernel', 'bias'];
    const stored = c.weights.take('kernel', roles, [[...kernel, channels, filters]]);
    const positions = kernel.reduce((a, b) => a * b, 1);
    // [positions, channels, filters] to [filters, channels, positions].
    const data = new Float64Array(stored.data.length);
    for (let p = 0; p < positions; p++)
      for (let i = 0; i < channels; i++)
        for (let f = 0; f < filters; f++)
          data[(f * channels + i) * positions + p] = stored.data[(p * channels + i) * filters + f]!;
    const extent = kernel.map((k, i) => (k - 1) * dilations[i]! + 1);
    const operands = [c.g.constant('kernel', [filters, channels, ...kernel], data)];
    if (c.config.boolean('use_bias', true)) {
      operands.push(c.g.constant('bias', [filters], c.weights.take('bias', roles, [[filters]]).data));
    }
    const attributes = [
      intsAttribute('strides', strides),
      intsAttribute('dilations', dilations),
      intsAttribute('kernel_shape', kernel),
      intAttribute('group', groups),
      ...paddingAttributes(padding, extent, strides),
    ];
    const { name, shape } = spatially(c, inputs, rank, { extent, strides, padding, channels: filters }, (x) =>
      c.g.node('Conv', [x, ...operands], attributes),
    );
    return [shaped(activate(c.config, c.g, c.config.activation('activation', 'linear'), name), shape)];
  };
}

function paddingAttributes(
  padding: 'valid' | 'same' | 'causal',
  extent: readonly number[],
  strides: readonly number[],
): AttributeProto[] {
  const pads = (before: (e: number) => number, after: (e: number) => number) => [
    intsAttribute('pads', [...extent.map(before), ...extent.map(after)]),
  ];
  if (padding === 'valid') return [];
  if (padding === 'causal')
    return pads(
      (e) => e - 1,
      () => 0,
    );
  // ONNX Runtime takes no auto_pad together with dilations; Keras takes no strides together with them.
  const stepwise = strides.every((s) => s === 1);
  return stepwise
    ? pads(
        (e) => Math.floor((e - 1) / 2),
        (e) => Math.ceil((e - 1) / 2),
      )
    : [stringAttribute('auto_pad', 'SAME_UPPER')];
}

function pooling(operator: 'MaxPool' | 'AveragePool', rank: number): LayerConverter {
  return (c, inputs) => {
    const size = c.config.spatial('pool_size', rank, [2]);
    const strides = c.config.has('strides') ? c.config.spatial('strides', rank) : size;
    const padding = paddingOf(c);
    const attributes = [
      intsAttribute('kernel_shape', size),
      intsAttribute('strides', strides),
      ...paddingAttributes(padding, size, strides),
    ];
    const { name, shape } = spatially(c, inputs, rank, { extent: size, strides, padding, channels: null }, (x) =>
      c.g.node(operator, [x], attributes),
    );
    return [shaped(name, shape)];
  };
}

function globalPooling(operator: 'ReduceMean' | 'ReduceMax', rank: number): LayerConverter {
  return (c, inputs) => {
    const x = single(c, inputs);
    expectRank(c, x, rank + 2);
    const first = channelsFirst(c);
    const axes = Array.from({ length: rank }, (_, i) => i + (first ? 2 : 1));
    const keep = c.config.boolean('keepdims', false);
    const name = c.g.node(operator, [asFloat(c.g, x)], [intsAttribute('axes', axes), intAttribute('keepdims', keep ? 1 : 0)]);
    const shape = x.shape.map((d, i) => (axes.includes(i) ? 1 : d));
    return [shaped(name, keep ? shape : shape.filter((_, i) => !axes.includes(i)))];
  };
}

function zeroPadding(rank: number): LayerConverter {
  return (c, inputs) => {
    const x = single(c, inputs);
    expectRank(c, x, rank + 2);
    const given = c.config.values['padding'] ?? 1;
    const list: unknown[] = Array.isArray(given) ? given : Array.from({ length: rank }, () => given);
    // One axis: [before, after]; two axes: one number or one pair for each.
    const pairs = (rank === 1 && list.length === 2 ? [list] : list).map((p) => (Array.isArray(p) ? p : [p, p]) as unknown[]);
    if (
      pairs.length !== rank ||
      pairs.some((p) => p.length !== 2 || !p.every((v) => Number.isInteger(v) && (v as number) >= 0))
    ) {
      c.config.fail('bad-layer', `its padding is ${JSON.stringify(given)}`);
    }
    const numbers = pairs as [number, number][];
    const from = channelsFirst(c) ? 2 : 1;
    const all = x.shape.map((_, i): [number, number] => numbers[i - from] ?? [0, 0]);
    const pads = integers(c.g, [...all.map((p) => p[0]), ...all.map((p) => p[1])]);
    const name = c.g.node('Pad', [asFloat(c.g, x), pads]);
    return [
      shaped(
        name,
        x.shape.map((d, i) => (d === null ? null : d + all[i]![0] + all[i]![1])),
      ),
    ];
  };
}

export const convolutionLayers: Readonly<Record<string, LayerConverter>> = {
  Conv1D: convolution(1),
  Conv2D: convolution(2),
  MaxPooling1D: pooling('MaxPool', 1),
  MaxPooling2D: pooling('MaxPool', 2),
  AveragePooling1D: pooling('AveragePool', 1),
  AveragePooling2D: pooling('AveragePool', 2),
  GlobalAveragePooling1D: globalPooling('ReduceMean', 1),
  GlobalAveragePooling2D: globalPooling('ReduceMean', 2),
  GlobalMaxPooling1D: globalPooling('ReduceMax', 1),
  GlobalMaxPooling2D: globalPooling('ReduceMax', 2),
  ZeroPadding1D: zeroPadding(1),
  ZeroPadding2D: zeroPadding(2),
};
