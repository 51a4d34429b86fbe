import { BadInputError } from '../../errors.js';
import { nodeLabel } from './model.js';
import { AttributeProto_AttributeType as Kind, type AttributeProto, type NodeProto, type TensorProto } from './onnx_pb.js';

/** Attributes of a node by name, with the type checked. Files before IR version 2 carry no type: those are taken as asked for. */

function find(node: NodeProto, name: string, kind: Kind): AttributeProto | undefined {
  const attribute = node.attribute.find((a) => a.name === name);
  if (attribute && attribute.type !== Kind.UNDEFINED && attribute.type !== kind) {
    throw new BadInputError(
      'bad-attribute',
      `node ${nodeLabel(node)}: attribute ${name} is ${Kind[attribute.type]}, not ${Kind[kind]}`,
    );
  }
  return attribute;
}

const decoder = new TextDecoder();

export function intAttribute(node: NodeProto, name: string): number | undefined {
  const attribute = find(node, name, Kind.INT);
  return attribute ? Number(attribute.i) : undefined;
}

export function intsAttribute(node: NodeProto, name: string): number[] | undefined {
  return find(node, name, Kind.INTS)?.ints.map(Number);
}

export function floatAttribute(node: NodeProto, name: string): number | undefined {
  return find(node, name, Kind.FLOAT)?.f;
}

export function floatsAttribute(node: NodeProto, name: string): number[] | undefined {
  return find(node, name, Kind.FLOATS)?.floats;
}

export function stringAttribute(node: NodeProto, name: string): string | undefined {
  const attribute = find(node, name, Kind.STRING);
  return attribute ? decoder.decode(attribute.s) : undefined;
}

export function stringsAttribute(node: NodeProto, name: string): string[] | undefined {
  return find(node, name, Kind.STRINGS)?.strings.map((s) => decoder.decode(s));
}

export function tensorAttribute(node: NodeProto, name: string): TensorProto | undefined {
  return find(node, name, Kind.TENSOR)?.t;
}
