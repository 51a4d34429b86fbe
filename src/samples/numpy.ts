import { unzipSync } from 'fflate';
import { badSamples, type NamedArray, type SampleArray } from './sampleArray.js';

/** NumPy's .npy and .npz (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html), numbers widened to float64. */

const readers: Record<string, { bytes: number; read: (view: DataView, offset: number, little: boolean) => number }> = {
  f8: { bytes: 8, read: (v, o, l) => v.getFloat64(o, l) },
  f4: { bytes: 4, read: (v, o, l) => v.getFloat32(o, l) },
  i8: { bytes: 8, read: (v, o, l) => Number(v.getBigInt64(o, l)) },
  u8: { bytes: 8, read: (v, o, l) => Number(v.getBigUint64(o, l)) },
  i4: { bytes: 4, read: (v, o, l) => v.getInt32(o, l) },
  u4: { bytes: 4, read: (v, o, l) => v.getUint32(o, l) },
  i2: { bytes: 2, read: (v, o, l) => v.getInt16(o, l) },
  u2: { bytes: 2, read: (v, o, l) => v.getUint16(o, l) },
  i1: { bytes: 1, read: (v, o) => v.getInt8(o) },
  u1: { bytes: 1, read: (v, o) => v.getUint8(o) },
  b1: { bytes: 1, read: (v, o) => v.getUint8(o) },
};

export function readNpy(bytes: Uint8Array, name: string): SampleArray {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 10 || new TextDecoder('latin1').decode(bytes.subarray(0, 6)) !== '\x93NUMPY')
    throw badSamples(`${name} is not a NumPy array`);
  const wide = bytes[6]! >= 2;
  const start = wide ? 12 : 10;
  const headerLength = wide ? view.getUint32(8, true) : view.getUint16(8, true);
  const header = new TextDecoder('latin1').decode(bytes.subarray(start, start + headerLength));
  const descr = /'descr':\s*'([<>|=])([a-z]\d)'/.exec(header);
  const shape = /'shape':\s*\(([^)]*)\)/.exec(header);
  const reader = descr && readers[descr[2]!];
  if (!reader || !shape)
    throw badSamples(`${name} has an element type or header that is not supported: ${header.trim().slice(0, 80)}`);
  if (header.includes("'fortran_order': True"))
    throw badSamples(`${name} is stored in Fortran order; save it with numpy.ascontiguousarray`);
  const dims = shape[1]!
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map(Number);
  const count = dims.reduce((a, b) => a * b, 1);
  const offset = start + headerLength;
  if (!Number.isSafeInteger(count) || bytes.length - offset < count * reader.bytes) {
    throw badSamples(
      `${name} is truncated: shape (${dims.join(', ')}) needs ${count * reader.bytes} bytes, ${bytes.length - offset} are there`,
    );
  }
  const little = descr[1] !== '>';
  const data = new Float64Array(count);
  for (let i = 0; i < count; i++) data[i] = reader.read(view, offset + i * reader.bytes, little);
  return { dims, data };
}

/** The arrays of an .npz. Those that `numpy.savez` numbered by itself (arr_0, arr_1, …) have no name of their own. */
export function readNpz(bytes: Uint8Array, file: string): NamedArray[] {
  let entries: Record<string, Uint8Array>;
  try {
    entries = unzipSync(bytes, { filter: ({ name }) => name.endsWith('.npy') });
  } catch {
    throw badSamples(`${file} is a damaged .npz file`);
  }
  const arrays = Object.entries(entries).map(([entry, content]) => {
    const name = entry.slice(0, -4);
    return { name: /^arr_\d+$/.test(name) ? '' : name, where: `${file}:${name}`, ...readNpy(content, `${file}:${name}`) };
  });
  if (arrays.length === 0) throw badSamples(`${file} holds no arrays`);
  return arrays;
}
