import { create } from '@bufbuild/protobuf';
import { BadInputError } from '../../errors.js';
import { TensorProto_DataLocation, TensorProto_DataType as DataType, TensorProtoSchema, type TensorProto } from './onnx_pb.js';

/** A constant tensor with its numbers widened to float64. Integers beyond 2^53 only occur as "to the end" in Slice, where rounding does no harm. */
export interface Tensor {
  readonly dims: readonly number[];
  readonly type: DataType;
  readonly data: Float64Array;
}

export { DataType };

/** Bytes of external data by location, already confined to the checkpoint's folder and read before parsing starts. */
export type ExternalData = ReadonlyMap<string, Uint8Array>;

export function elementCount(dims: readonly number[]): number {
  return dims.reduce((a, b) => a * b, 1);
}

export function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Nearest float16, ties to even. */
export function numberToHalf(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (Number.isNaN(value)) return 0x7e00;
  if (size >= 65520) return sign | 0x7c00;
  const exponent = Math.max(-14, Math.floor(Math.log2(size)));
  const scaled = size / 2 ** (exponent - 10);
  const floor = Math.floor(scaled);
  const rest = scaled - floor;
  const rounded = rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
  // A carry out of the fraction is a carry into the exponent, which the addition makes by itself.
  return sign | (exponent === -14 ? rounded : ((exponent + 14) << 10) + rounded);
}

function bfloatToNumber(bits: number): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, bits << 16);
  return view.getFloat32(0);
}

interface Width {
  bytes: number;
  read(view: DataView, offset: number): number;
}

const widths: Partial<Record<DataType, Width>> = {
  [DataType.FLOAT]: { bytes: 4, read: (v, o) => v.getFloat32(o, true) },
  [DataType.DOUBLE]: { bytes: 8, read: (v, o) => v.getFloat64(o, true) },
  [DataType.FLOAT16]: { bytes: 2, read: (v, o) => halfToNumber(v.getUint16(o, true)) },
  [DataType.BFLOAT16]: { bytes: 2, read: (v, o) => bfloatToNumber(v.getUint16(o, true)) },
  [DataType.INT8]: { bytes: 1, read: (v, o) => v.getInt8(o) },
  [DataType.UINT8]: { bytes: 1, read: (v, o) => v.getUint8(o) },
  [DataType.BOOL]: { bytes: 1, read: (v, o) => v.getUint8(o) },
  [DataType.INT16]: { bytes: 2, read: (v, o) => v.getInt16(o, true) },
  [DataType.UINT16]: { bytes: 2, read: (v, o) => v.getUint16(o, true) },
  [DataType.INT32]: { bytes: 4, read: (v, o) => v.getInt32(o, true) },
  [DataType.UINT32]: { bytes: 4, read: (v, o) => v.getUint32(o, true) },
  [DataType.INT64]: { bytes: 8, read: (v, o) => Number(v.getBigInt64(o, true)) },
  [DataType.UINT64]: { bytes: 8, read: (v, o) => Number(v.getBigUint64(o, true)) },
};

export function isFloat(type: DataType): boolean {
  return type === DataType.FLOAT || type === DataType.DOUBLE || type === DataType.FLOAT16 || type === DataType.BFLOAT16;
}

function rawBytes(tensor: TensorProto, external: ExternalData): Uint8Array | null {
  if (tensor.dataLocation !== TensorProto_DataLocation.EXTERNAL) return tensor.rawData.length > 0 ? tensor.rawData : null;
  const entry = (key: string) => tensor.externalData.find((e) => e.key === key)?.value;
  const location = entry('location') ?? '';
  const file = external.get(location);
  if (!file)
    throw new BadInputError(
      'missing-external-data',
      `tensor ${tensor.name}: its data file ${location} is missing beside the checkpoint`,
    );
  const offset = Number(entry('offset') ?? 0);
  const length = Number(entry('length') ?? file.length - offset);
  if (!(offset >= 0) || !(length >= 0) || offset + length > file.length) {
    throw new BadInputError('damaged-file', `tensor ${tensor.name}: its data lies outside ${location} (${file.length} bytes)`);
  }
  return file.subarray(offset, offset + length);
}

/** @throws BadInputError when the declared shape and the data do not fit together */
export function readTensor(tensor: TensorProto, external: ExternalData): Tensor {
  const type = tensor.dataType as DataType;
  const dims = tensor.dims.map(Number);
  const where = `tensor ${tensor.name === '' ? '(unnamed)' : tensor.name}`;
  const width = widths[type];
  if (!width) throw new BadInputError('unsupported-type', `${where}: element type ${DataType[type] ?? type} is not supported`);
  const count = elementCount(dims);
  if (dims.some((d) => d < 0) || !Number.isSafeInteger(count))
    throw new BadInputError('damaged-file', `${where}: shape [${dims.join(', ')}] is impossible`);

  const raw = rawBytes(tensor, external);
  let data: Float64Array;
  if (raw) {
    if (raw.length !== count * width.bytes) {
      throw new BadInputError(
        'damaged-file',
        `${where}: shape [${dims.join(', ')}] needs ${count * width.bytes} bytes, the file holds ${raw.length}`,
      );
    }
    const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
    data = new Float64Array(count);
    for (let i = 0; i < count; i++) data[i] = width.read(view, i * width.bytes);
  } else {
    const bits: Partial<Record<DataType, (v: number) => number>> = {
      [DataType.FLOAT16]: halfToNumber,
      [DataType.BFLOAT16]: bfloatToNumber,
    };
    const listed =
      tensor.floatData.length > 0
        ? tensor.floatData
        : tensor.doubleData.length > 0
          ? tensor.doubleData
          : tensor.int64Data.length > 0
            ? tensor.int64Data
            : tensor.uint64Data.length > 0
              ? tensor.uint64Data
              : tensor.int32Data;
    if (listed.length !== count) {
      throw new BadInputError(
        'damaged-file',
        `${where}: shape [${dims.join(', ')}] needs ${count} numbers, the file holds ${listed.length}`,
      );
    }
    const decode = bits[type] ?? ((v: number) => v);
    data = Float64Array.from(listed as ArrayLike<number | bigint>, (v) => decode(Number(v)));
  }
  return { dims, type, data };
}

/** The tensor with its data inside, for a model that is written elsewhere. */
export function withInlineData(tensor: TensorProto, external: ExternalData): TensorProto {
  if (tensor.dataLocation !== TensorProto_DataLocation.EXTERNAL) return tensor;
  const dims = [...tensor.dims];
  return create(TensorProtoSchema, {
    name: tensor.name,
    dataType: tensor.dataType,
    dims,
    rawData: rawBytes(tensor, external) ?? new Uint8Array(),
  });
}

/** Tensors of equal shape elsewhere, one behind the other along an axis. */
export function joinedAlong(parts: readonly [Tensor, ...Tensor[]], axis: number): Tensor {
  const [first] = parts;
  const inner = elementCount(first.dims.slice(axis + 1));
  const outer = elementCount(first.dims.slice(0, axis));
  const total = parts.reduce((sum, t) => sum + t.dims[axis]!, 0);
  const data = new Float64Array(outer * total * inner);
  let offset = 0;
  for (let o = 0; o < outer; o++) {
    for (const part of parts) {
      const run = part.dims[axis]! * inner;
      data.set(part.data.subarray(o * run, (o + 1) * run), offset);
      offset += run;
    }
  }
  return { type: first.type, dims: first.dims.map((d, i) => (i === axis ? total : d)), data };
}

/** A TensorProto with raw data in the element type asked for. */
export function tensorProto(name: string, type: DataType, dims: readonly number[], data: ArrayLike<number>): TensorProto {
  const bytes = widths[type]!.bytes;
  const raw = new Uint8Array(data.length * bytes);
  const view = new DataView(raw.buffer);
  for (let i = 0; i < data.length; i++) {
    const value = data[i]!;
    switch (type) {
      case DataType.FLOAT:
        view.setFloat32(i * 4, value, true);
        break;
      case DataType.DOUBLE:
        view.setFloat64(i * 8, value, true);
        break;
      case DataType.FLOAT16:
        view.setUint16(i * 2, numberToHalf(value), true);
        break;
      case DataType.BFLOAT16: {
        // The numbers came from bfloat16, so the lower half of the float is empty and cutting it off is exact.
        const float = new DataView(new ArrayBuffer(4));
        float.setFloat32(0, value);
        view.setUint16(i * 2, float.getUint16(0), true);
        break;
      }
      case DataType.INT32:
        view.setInt32(i * 4, value, true);
        break;
      case DataType.INT64:
        // The largest integer, which stands for "to the end", is no float64 and was rounded up on reading.
        view.setBigInt64(i * 8, value >= 2 ** 63 ? 2n ** 63n - 1n : BigInt(value), true);
        break;
      case DataType.BOOL:
      case DataType.UINT8:
        view.setUint8(i, value);
        break;
      default:
        throw new RangeError(`Writing ${DataType[type]} is not supported`);
    }
  }
  return create(TensorProtoSchema, { name, dataType: type, dims: dims.map(BigInt), rawData: raw });
}
