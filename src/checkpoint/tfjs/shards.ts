import { BadInputError } from '../../errors.js';
import { isLfsPointer } from '../contents.js';
import { DataType, elementCount, halfToNumber, type Tensor } from '../onnx/tensor.js';
import { siblingSegments } from '../siblingPath.js';
import { isObject, type JsonObject } from './json.js';

/** A weight by the name that the manifest gives it. */
export interface StoredWeight {
  readonly name: string;
  readonly dims: readonly number[];
  /** Decodes it, which takes several times the bytes that are stored. */
  read(): Tensor;
}

/** Reads a file beside model.json; undefined when it does not exist. */
export type ReadSibling = (path: string) => Promise<Uint8Array | undefined>;

interface Entry {
  readonly name: string;
  readonly dims: readonly number[];
  readonly type: string;
  readonly quantization: { readonly type: string; readonly scale: number; readonly min: number } | null;
  /** Optimizer state may lie among the weights. */
  readonly ofModel: boolean;
}

const bytesOf: Readonly<Record<string, number>> = {
  float32: 4,
  int32: 4,
  bool: 1,
  uint8: 1,
  uint16: 2,
  float16: 2,
  complex64: 8,
};
const typeOf: Readonly<Record<string, DataType>> = { float32: DataType.FLOAT, int32: DataType.INT32, bool: DataType.BOOL };
const quantizedTypes = new Set(['uint8', 'uint16', 'float16']);
/** The converter's names: group1-shard2of5, with or without .bin. */
const shardNumber = /shard(\d+)of(\d+)/;
const largestModel = 2 ** 31 - 1;

/**
 * The weights of a manifest: for every group its shards, one behind the other, cut into tensors and dequantised as TF.js does.
 * @throws BadInputError that names the shard or the weight
 */
export async function readWeights(manifest: unknown, read: ReadSibling): Promise<{ weights: StoredWeight[]; bytes: number }> {
  if (!Array.isArray(manifest)) {
    throw new BadInputError('bad-manifest', 'its weightsManifest is missing; save the model with its weights');
  }
  const groups = manifest.map((group: unknown, i) => readGroup(group, i));
  const bytes = groups.reduce((sum, g) => sum + g.bytes, 0);
  const unpacked = groups.reduce(
    (sum, g) => sum + g.entries.reduce((n, e) => n + elementCount(e.dims) * bytesOf['float32']!, 0),
    0,
  );
  if (unpacked > largestModel) {
    throw new BadInputError('too-large', `its weights take ${unpacked} bytes as float32; an ONNX model can hold up to 2 GiB`);
  }
  const weights: StoredWeight[] = [];
  for (const [i, { paths, entries, bytes: size }] of groups.entries()) {
    const data = await readShards(paths, size, i, read);
    let offset = 0;
    for (const entry of entries) {
      const length = byteLength(entry);
      const stored = data.subarray(offset, offset + length);
      if (entry.ofModel) weights.push({ name: entry.name, dims: entry.dims, read: () => decode(entry, stored) });
      offset += length;
    }
  }
  return { weights, bytes };
}

function readGroup(group: unknown, index: number): { paths: string[]; entries: Entry[]; bytes: number } {
  const bad = (what: string) => new BadInputError('bad-manifest', `weight group ${index + 1}: ${what}`);
  if (!isObject(group) || !Array.isArray(group['paths']) || !Array.isArray(group['weights'])) {
    throw bad('it has no lists "paths" and "weights"');
  }
  const paths = group['paths'] as unknown[];
  if (!paths.every((p): p is string => typeof p === 'string')) throw bad('a path is no string');
  for (const path of paths) siblingSegments(path);
  const entries = (group['weights'] as unknown[]).map((weight) => readEntry(weight, bad));
  return { paths, entries, bytes: entries.reduce((sum, e) => sum + byteLength(e), 0) };
}

function readEntry(weight: unknown, bad: (what: string) => BadInputError): Entry {
  const { name, shape, dtype, quantization, group }: JsonObject = isObject(weight) ? weight : {};
  if (typeof name !== 'string') throw bad('a weight has no name');
  const dims: unknown[] = Array.isArray(shape) ? shape : [null];
  if (
    !dims.every((d): d is number => Number.isSafeInteger(d) && (d as number) >= 0) ||
    !Number.isSafeInteger(elementCount(dims))
  ) {
    throw bad(`the shape of weight ${name} is ${JSON.stringify(shape)}`);
  }
  const type = typeof dtype === 'string' ? dtype : 'float32';
  if (bytesOf[type] === undefined) throw bad(`weight ${name} has the element type ${type}, which is not supported`);
  return { name, dims, type, ofModel: group !== 'optimizer', quantization: readQuantization(name, quantization, type, bad) };
}

function readQuantization(
  name: string,
  value: unknown,
  type: string,
  bad: (what: string) => BadInputError,
): Entry['quantization'] {
  if (!isObject(value)) return null;
  const { dtype, scale, min } = value;
  if (typeof dtype !== 'string' || !quantizedTypes.has(dtype) || (type !== 'float32' && type !== 'int32')) {
    throw bad(`weight ${name} (${type}) is quantised as ${String(dtype)}, which is not supported`);
  }
  if (dtype === 'float16') return { type: dtype, scale: 1, min: 0 };
  if (typeof scale !== 'number' || typeof min !== 'number') throw bad(`weight ${name} is quantised without scale and min`);
  return { type: dtype, scale, min };
}

function byteLength(entry: Entry): number {
  return elementCount(entry.dims) * bytesOf[entry.quantization?.type ?? entry.type]!;
}

async function readShards(paths: readonly string[], wanted: number, group: number, read: ReadSibling): Promise<Uint8Array> {
  checkOrder(paths, group);
  const shards: Uint8Array[] = [];
  for (const path of paths) {
    const bytes = await read(path);
    if (!bytes) {
      throw new BadInputError(
        'missing-shard',
        `its weight file "${path}" is missing beside it; copy all files of the checkpoint`,
      );
    }
    if (isLfsPointer(bytes)) {
      throw new BadInputError('git-lfs-pointer', `its weight file "${path}" is a Git LFS pointer; run \`git lfs pull\``);
    }
    shards.push(bytes);
  }
  const held = shards.reduce((sum, s) => sum + s.length, 0);
  if (held !== wanted) {
    const sizes = paths.map((path, i) => `"${path}" ${shards[i]!.length}`).join(', ');
    throw new BadInputError(
      'bad-shard',
      `weight group ${group + 1} needs ${wanted} bytes but its files hold ${held} (${sizes}): ` +
        `${held < wanted ? 'a file is truncated' : 'a file is too long'}, or the files belong to another model`,
    );
  }
  // The converter cuts a group into equal parts and a shorter last one, so a shorter part in front has changed places.
  const sizes = shards.map((s) => s.length);
  const odd = sizes.findIndex((size, i) => size !== sizes[0] && (i < sizes.length - 1 || size > sizes[0]!));
  if (odd >= 0 && paths.every((path) => shardNumber.test(path))) {
    const name = paths[odd]!;
    throw new BadInputError(
      'bad-shard',
      `the weight files of group ${group + 1} are not of equal size with a shorter one at the end: "${name}" was swapped with another`,
    );
  }
  const [only] = shards;
  if (only && shards.length === 1) return only;
  const data = new Uint8Array(held);
  let offset = 0;
  for (const shard of shards) {
    data.set(shard, offset);
    offset += shard.length;
  }
  return data;
}

/** Shards named "group1-shard2of5" say themselves where they belong. */
function checkOrder(paths: readonly string[], group: number): void {
  paths.forEach((path, i) => {
    const match = shardNumber.exec(path);
    if (match && (Number(match[1]) !== i + 1 || Number(match[2]) !== paths.length)) {
      throw new BadInputError(
        'bad-shard',
        `weight group ${group + 1} lists "${path}" as file ${i + 1} of ${paths.length}; its files are swapped or incomplete`,
      );
    }
  });
}

/** Numbers as TF.js computes them: float32 results, whole numbers rounded. */
function decode({ name, dims, type, quantization }: Entry, bytes: Uint8Array): Tensor {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const elementType = typeOf[type];
  if (elementType === undefined) {
    throw new BadInputError('bad-manifest', `weight ${name} has the element type ${type}, which no layer takes`);
  }
  const read = reader(quantization?.type ?? type, view);
  const data = new Float64Array(elementCount(dims));
  for (let i = 0; i < data.length; i++) {
    const stored = read(i);
    if (!quantization || quantization.type === 'float16') data[i] = stored;
    else {
      const value = stored * quantization.scale + quantization.min;
      data[i] = type === 'int32' ? Math.round(value) : Math.fround(value);
    }
  }
  return { dims, type: elementType, data };
}

function reader(type: string, view: DataView): (index: number) => number {
  switch (type) {
    case 'float32':
      return (i) => view.getFloat32(4 * i, true);
    case 'int32':
      return (i) => view.getInt32(4 * i, true);
    case 'uint16':
      return (i) => view.getUint16(2 * i, true);
    case 'float16':
      return (i) => halfToNumber(view.getUint16(2 * i, true));
    default:
      return (i) => view.getUint8(i);
  }
}
