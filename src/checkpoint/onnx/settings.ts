import { BadInputError } from '../../errors.js';
import { Constants } from './constants.js';
import { bodiesOf, dependents } from './graphs.js';
import { nodeLabel } from './model.js';
import type { GraphProto, NodeProto, ValueInfoProto } from './onnx_pb.js';
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
    if (isShapeSetting(text)) {
      const shape = text.toLowerCase().split('x').map(Number);
      const fits = shape.length === dims.length && shape.every((d, i) => d > 0 && (dims[i] === null || dims[i] === d));
      if (!fits) throw unfit(info, text);
      shapes.set(name, shape);
      continue;
    }
    const { dims: sizes, data } = settingValue(info, text);
    graph.initializer.push(tensorProto(name, declaredType(info), sizes, data));
    graph.input = graph.input.filter((i) => i.name !== name);
  }
  return shapes;
}

/**
 * A value as users write it, one number for all elements or a list of them, as the input takes it.
 * @throws BadInputError where it does not fit
 */
export function settingValue(info: ValueInfoProto, text: string): { dims: number[]; data: Float64Array } {
  const declared = declaredDims(info);
  const values = text.split(',').map((part) => (part.trim() === '' ? NaN : Number(part)));
  const dims = declared.map((d) => d ?? (declared.length === 1 ? values.length : 1));
  const count = elementCount(dims);
  const whole = isFloat(declaredType(info)) || values.every(Number.isInteger);
  if (!values.every(Number.isFinite) || !whole || (values.length !== 1 && values.length !== count)) throw unfit(info, text);
  return { dims, data: Float64Array.from({ length: count }, (_, i) => values[values.length === 1 ? 0 : i]!) };
}

export function isShapeSetting(text: string): boolean {
  return shapeSetting.test(text);
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
  return freeInputs(graph).flatMap((info): DecidingInput[] => {
    const type = declaredType(info);
    // A choice is a single number or flag; a float tensor is data.
    if (isFloat(type) || elementCount(declaredDims(info).map((d) => d ?? 2)) !== 1) return [];
    const { decided, values } = questionsAbout(graph, [info.name], new Constants(graph, new Map()));
    if (!decided) return [];
    const given = type === DataType.BOOL && values.length === 0 ? [0, 1] : values;
    return [{ name: info.name, node: nodeLabel(decided), values: [...new Set(given)] }];
  });
}

/** The first If that depends on the values of these tensors, and what they are compared with, in all branches. */
function questionsAbout(
  graph: GraphProto,
  tensors: Iterable<string>,
  outer: Constants,
): { decided?: NodeProto; values: number[] } {
  // Its shape decides nothing: only what follows from its value.
  const valued = graph.node.filter((n) => n.opType !== 'Shape' && n.opType !== 'Size');
  const from = dependents(valued, tensors);
  const own = new Constants(graph, new Map());
  const stored = (name: string) => own.value(name) ?? outer.value(name);
  const compared = valued.filter((n) => /^(Equal|Less|Greater)/.test(n.opType) && n.input.some((name) => from.has(name)));
  const values = compared.flatMap((n) => n.input.flatMap((name) => [...(stored(name)?.data ?? [])]));
  const inside = graph.node.flatMap(bodiesOf).map((body) => questionsAbout(body, from, own));
  const decided =
    graph.node.find((n) => n.opType === 'If' && from.has(n.input[0] ?? '')) ?? inside.find((i) => i.decided)?.decided;
  return { ...(decided ? { decided } : {}), values: [...values, ...inside.flatMap((i) => i.values)] };
}
