import { create } from '@bufbuild/protobuf';
import { AttributeProto_AttributeType as Kind, AttributeProtoSchema, type AttributeProto } from '../onnx/onnx_pb.js';
import { DataType, elementCount } from '../onnx/tensor.js';
import { intAttribute, type GraphBuilder } from '../onnx/graphBuilder.js';
import type { Place } from '../place.js';
import type { KerasCell } from './equations.js';
import type { LayerConfig } from './layerConfig.js';
import type { LayerWeights } from './weights.js';

/** A tensor of the converted graph with what Keras knows of it. */
export interface Value {
  readonly name: string;
  /** The batch comes first; null where a size is only known at run time. */
  readonly shape: readonly (number | null)[];
  readonly type: DataType;
  /** A bool tensor [batch, time] that is true where a step counts; null where all do. */
  readonly mask: string | null;
  /** Values that it cannot leave; null where nothing is known. */
  readonly bounds: Bounds | null;
}

export interface Bounds {
  readonly lower: number;
  readonly upper: number;
}

/** Everything that the conversion of one layer works with. */
export interface LayerContext {
  readonly config: LayerConfig;
  /** Collects the layer's nodes and constants; names of both begin with the layer's. */
  readonly g: GraphBuilder;
  readonly weights: LayerWeights;
  /** The layer's name with those of the models around it, unique for every call. */
  readonly name: string;
  /** The states that a caller passed by keyword; empty where there are none. */
  readonly initialState: readonly Value[];
  /** Describes a layer inside this one: that of a wrapper, a cell. */
  inner(key: string): LayerConfig;
  /** @param what how a message names it */
  describe(value: unknown, what: string): LayerConfig;
  /** Converts another layer, the inner one of a wrapper, on the same weights. */
  apply(config: LayerConfig, inputs: readonly Value[]): readonly Value[];
  /** Remembers what a recurrent node was made from. */
  origin(node: string, origin: NodeOrigin): void;
  /** An input of the graph that model.json does not name: a state that a stateful layer carries from call to call. */
  stateInput(name: string, shape: readonly (number | null)[]): string;
  stateOutput(name: string, tensor: string, shape: readonly (number | null)[]): void;
}

/** What a recurrent node was made from. */
export interface NodeOrigin {
  /** The object in model.json. */
  readonly place: Place | undefined;
  /** In the order of the node's directions. */
  readonly cells: readonly KerasCell[];
}

export type LayerConverter = (c: LayerContext, inputs: readonly Value[]) => readonly Value[];

/** The only input of a layer. */
export function single(c: LayerContext, inputs: readonly Value[]): Value {
  const [x] = inputs;
  if (!x || inputs.length !== 1) return c.config.fail('bad-topology', `it has ${inputs.length} inputs where it takes one`);
  return x;
}

export function expectRank(c: LayerContext, x: Value, rank: number): void {
  if (x.shape.length !== rank) {
    c.config.fail('bad-topology', `its input ${shapeText(x.shape)} has ${x.shape.length} dimensions where it takes ${rank}`);
  }
}

/** A size that must be known before the model runs. */
export function knownSize(c: LayerContext, x: Value, axis: number): number {
  const size = x.shape.at(axis);
  return size ?? c.config.fail('bad-topology', `its input ${shapeText(x.shape)} leaves a size open that the layer needs to know`);
}

export function shapeText(shape: readonly (number | null)[]): string {
  return `[${shape.map((d) => d ?? '?').join(', ')}]`;
}

/** An axis counted from the front. */
export function axisOf(c: LayerContext, axis: number, rank: number): number {
  const counted = axis < 0 ? axis + rank : axis;
  if (!Number.isInteger(counted) || counted < 0 || counted >= rank) {
    return c.config.fail('bad-layer', `its axis ${axis} does not exist in ${rank} dimensions`);
  }
  return counted;
}

/** Other values of the same shape and mask. */
export function renamed(x: Value, name: string): Value {
  return { ...x, name, type: DataType.FLOAT, bounds: null };
}

/** Floats without a mask, of which nothing else is known. */
export function shaped(name: string, shape: readonly (number | null)[]): Value {
  return { name, shape, type: DataType.FLOAT, mask: null, bounds: null };
}

export function asFloat(g: GraphBuilder, x: Value): string {
  return x.type === DataType.FLOAT ? x.name : g.node('Cast', [x.name], [intAttribute('to', DataType.FLOAT)]);
}

/**
 * Reshapes all but the batch, and one more dimension where it is free.
 * @param shape with the batch first
 */
export function reshaped(c: LayerContext, x: Value, shape: readonly (number | null)[]): Value {
  const free = shape.slice(1).filter((d) => d === null).length;
  if (free > 1) c.config.fail('bad-topology', `its result ${shapeText(shape)} leaves more than one size open`);
  // 0 copies the batch; -1 can then stand for the free size.
  const target = shape.map((d, i) => (i === 0 ? 0 : (d ?? -1)));
  return shaped(c.g.reshape(x.name, target), shape);
}

/** Integer constant of one dimension. */
export function integers(g: GraphBuilder, values: readonly number[]): string {
  return g.constant(`integers_${values.join('_')}`, [values.length], values, DataType.INT64);
}

/** Sizes of a tensor at run time, from one axis up to another. */
export function sizesOf(g: GraphBuilder, x: string, from: number, to: number): string {
  return g.node('Shape', [x], [intAttribute('start', from), intAttribute('end', to)]);
}

/** The tensor read backwards along an axis. */
export function reversed(g: GraphBuilder, x: string, axis: number): string {
  return g.node('Slice', [x, integers(g, [-1]), integers(g, [-(2 ** 31)]), integers(g, [axis]), integers(g, [-1])]);
}

export function product(sizes: readonly (number | null)[]): number | null {
  return sizes.every((s) => s !== null) ? elementCount(sizes) : null;
}

export { intAttribute, intsAttribute, floatAttribute } from '../onnx/graphBuilder.js';

export function stringAttribute(name: string, value: string): AttributeProto {
  return create(AttributeProtoSchema, { name, type: Kind.STRING, s: new TextEncoder().encode(value) });
}

export function stringsAttribute(name: string, values: readonly string[]): AttributeProto {
  const encoder = new TextEncoder();
  return create(AttributeProtoSchema, { name, type: Kind.STRINGS, strings: values.map((v) => encoder.encode(v)) });
}

export function floatsAttribute(name: string, values: readonly number[]): AttributeProto {
  return create(AttributeProtoSchema, { name, type: Kind.FLOATS, floats: [...values] });
}
