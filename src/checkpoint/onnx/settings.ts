import { create } from '@bufbuild/protobuf';
import { BadInputError } from '../../errors.js';
import { Constants } from './constants.js';
import { dependents, readsOf } from './graphs.js';
import { nodeLabel } from './model.js';
import { NodeProtoSchema, type GraphProto, type NodeProto, type ValueInfoProto } from './onnx_pb.js';
import { DataType, elementCount, isFloat, tensorProto } from './tensor.js';

/** What the user fixes about an input of the graph: `sr=16000` a value, `input=1x576` a shape. */
export type InputSettings = Readonly<Record<string, string>>;

/** Declared sizes of an input or output; null for one that is only known at run time. */
export function declaredDims(info: ValueInfoProto): (number | null)[] {
  const type = info.type?.value;
  if (type?.case !== 'tensorType') return [];
  return (type.value.shape?.dim ?? []).map((d) =>
    d.value.case === 'dimValue' && d.value.value > 0n ? Number(d.value.value) : null,
  );
}

export function declaredType(info: ValueInfoProto): DataType {
  const type = info.type?.value;
  return type?.case === 'tensorType' ? (type.value.elemType as DataType) : DataType.UNDEFINED;
}

/** Inputs of the graph that are no stored weights. */
export function freeInputs(graph: GraphProto): ValueInfoProto[] {
  const stored = new Set(graph.initializer.map((t) => t.name));
  return graph.input.filter((info) => !stored.has(info.name));
}

const shapeSetting = /^\d+(x\d+)+$/i;

/**
 * Turns inputs whose value was set into constants.
 * @returns the shapes that were set, by input
 * @throws BadInputError for a name or value that does not fit
 */
export function applySettings(graph: GraphProto, settings: InputSettings): Map<string, number[]> {
  const shapes = new Map<string, number[]>();
  for (const [name, text] of Object.entries(settings)) {
    const info = freeInputs(graph).find((i) => i.name === name);
    if (!info) {
      const names = freeInputs(graph).map((i) => i.name);
      throw new BadInputError('unknown-input', `there is no input "${name}" to set; the inputs are ${names.join(', ')}`);
    }
    const dims = declaredDims(info);
    if (shapeSetting.test(text)) {
      const shape = text.toLowerCase().split('x').map(Number);
      const fits = shape.length === dims.length && shape.every((d, i) => d > 0 && (dims[i] === null || dims[i] === d));
      if (!fits) throw unfit(info, text);
      shapes.set(name, shape);
      continue;
    }
    const values = text.split(',').map((part) => (part.trim() === '' ? NaN : Number(part)));
    const sizes = dims.map((d) => d ?? (dims.length === 1 ? values.length : 1));
    const count = elementCount(sizes);
    const whole = isFloat(declaredType(info)) || values.every(Number.isInteger);
    if (!values.every(Number.isFinite) || !whole || (values.length !== 1 && values.length !== count)) throw unfit(info, text);
    const data = values.length === count ? values : new Array<number>(count).fill(values[0]!);
    graph.initializer.push(tensorProto(name, declaredType(info), sizes, data));
    graph.input = graph.input.filter((i) => i.name !== name);
  }
  return shapes;
}

function unfit(info: ValueInfoProto, text: string): BadInputError {
  const dims = declaredDims(info).map((d) => d ?? '?');
  const shape = dims.length === 0 ? 'a single number' : `shape [${dims.join(', ')}]`;
  return new BadInputError(
    'bad-setting',
    `"${info.name}=${text}" does not fit the input ${info.name}, which takes ${shape} of ${DataType[declaredType(info)].toLowerCase()}; ` +
      'give one number, or a shape such as 1x512',
  );
}

/** A small input that decides which branch of an If runs, with the values that the graph compares it with. */
export interface DecidingInput {
  readonly name: string;
  readonly node: string;
  readonly values: readonly number[];
}

/** The inputs on whose value the condition of an If depends. */
export function decidingInputs(graph: GraphProto): DecidingInput[] {
  const constants = new Constants(graph, new Map());
  const conditions = allNodes(graph.node).filter((n) => n.opType === 'If');
  return freeInputs(graph).flatMap((info): DecidingInput[] => {
    const dims = declaredDims(info);
    const type = declaredType(info);
    // A choice is a single number or flag; a float tensor is data.
    if (isFloat(type) || elementCount(dims.map((d) => d ?? 2)) !== 1) return [];
    // Its shape decides nothing: only what follows from its value.
    const valued = graph.node.filter((n) => n.opType !== 'Shape' && n.opType !== 'Size');
    const from = dependents(valued, [info.name]);
    const decided = conditions.find((n) => from.has(n.input[0] ?? ''));
    if (!decided) return [];
    const compared = valued.filter((n) => /^(Equal|Less|Greater)/.test(n.opType) && readsOf(n).some((name) => from.has(name)));
    const values = compared.flatMap((n) => n.input.flatMap((name) => [...(constants.value(name)?.data ?? [])]));
    const given = type === DataType.BOOL && values.length === 0 ? [0, 1] : values;
    return [{ name: info.name, node: nodeLabel(decided), values: [...new Set(given)] }];
  });
}

function allNodes(nodes: readonly NodeProto[]): NodeProto[] {
  return nodes.flatMap((n) => [n, ...n.attribute.flatMap((a) => (a.g ? allNodes(a.g.node) : []))]);
}

/** A node of the default domain. */
export function plainNode(opType: string, input: readonly string[], output: readonly string[]): NodeProto {
  return create(NodeProtoSchema, { opType, name: `${output[0]}/${opType}`, input: [...input], output: [...output] });
}
