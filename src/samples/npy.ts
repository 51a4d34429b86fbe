import { unzipSync } from 'fflate';
import { BadInputError } from '../errors.js';

/** NumPy's .npy and .npz (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html), numbers widened to float64. */
export interface SampleArray {
  readonly dims: readonly number[];
  readonly data: Float64Array;
}

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

function bad(message: string): BadInputError {
  return new BadInputError('bad-samples', message);
}

export function readNpy(bytes: Uint8Array, name: string): SampleArray {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 10 || new TextDecoder('latin1').decode(bytes.subarray(0, 6)) !== '\x93NUMPY')
    throw bad(`${name} is not a NumPy array`);
  const wide = bytes[6]! >= 2;
  const start = wide ? 12 : 10;
  const headerLength = wide ? view.getUint32(8, true) : view.getUint16(8, true);
  const header = new TextDecoder('latin1').decode(bytes.subarray(start, start + headerLength));
  const descr = /'descr':\s*'([<>|=])([a-z]\d)'/.exec(header);
  const shape = /'shape':\s*\(([^)]*)\)/.exec(header);
  const reader = descr && readers[descr[2]!];
  if (!reader || !shape) throw bad(`${name} has an element type or header that is not supported: ${header.trim().slice(0, 80)}`);
  if (header.includes("'fortran_order': True"))
    throw bad(`${name} is stored in Fortran order; save it with numpy.ascontiguousarray`);
  const dims = shape[1]!
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map(Number);
  const count = dims.reduce((a, b) => a * b, 1);
  const offset = start + headerLength;
  if (!Number.isSafeInteger(count) || bytes.length - offset < count * reader.bytes) {
    throw bad(
      `${name} is truncated: shape (${dims.join(', ')}) needs ${count * reader.bytes} bytes, ${bytes.length - offset} are there`,
    );
  }
  const little = descr[1] !== '>';
  const data = new Float64Array(count);
  for (let i = 0; i < count; i++) data[i] = reader.read(view, offset + i * reader.bytes, little);
  const invalid = data.findIndex((v) => !Number.isFinite(v));
  if (invalid >= 0) throw bad(`${name} holds ${data[invalid]} at position ${invalid}`);
  return { dims, data };
}

/** Arrays of an .npz by name, or the one array of an .npy under the empty name. */
export function readSamples(bytes: Uint8Array, file: string): Map<string, SampleArray> {
  if (bytes[0] === 0x93) return new Map([['', readNpy(bytes, file)]]);
  if (bytes[0] !== 0x50 || bytes[1] !== 0x4b) throw bad(`${file} is neither an .npy nor an .npz file`);
  let entries: Record<string, Uint8Array>;
  try {
    entries = unzipSync(bytes);
  } catch {
    throw bad(`${file} is a damaged .npz file`);
  }
  const arrays = new Map<string, SampleArray>();
  for (const [entry, content] of Object.entries(entries)) {
    if (entry.endsWith('.npy')) arrays.set(entry.slice(0, -4), readNpy(content, `${file}:${entry.slice(0, -4)}`));
  }
  if (arrays.size === 0) throw bad(`${file} holds no arrays`);
  return arrays;
}
