import { zipSync } from 'fflate';

/** NumPy's .npy in version 1.0, little-endian and C order (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html). */
export function npy(data: Float32Array | BigInt64Array, shape: readonly number[]): Uint8Array {
  const descr = data instanceof Float32Array ? '<f4' : '<i8';
  const dictionary = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape.join(', ')}${shape.length === 1 ? ',' : ''}), }`;
  // Magic string, version and length take 10 bytes; the data must start at a multiple of 64.
  const headerLength = Math.ceil((10 + dictionary.length + 1) / 64) * 64 - 10;
  const bytes = new Uint8Array(10 + headerLength + data.byteLength);
  bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, headerLength & 0xff, headerLength >> 8]);
  bytes.set(new TextEncoder().encode(`${dictionary.padEnd(headerLength - 1)}\n`), 10);
  const view = new DataView(bytes.buffer, 10 + headerLength);
  data.forEach((value: number | bigint, i: number) => {
    if (typeof value === 'bigint') view.setBigInt64(8 * i, value, true);
    else view.setFloat32(4 * i, value, true);
  });
  return bytes;
}

/** A zip of .npy files. The time stamp is zip's oldest, as numpy.savez writes it, so that equal arrays give equal bytes. */
export function npz(arrays: Readonly<Record<string, Uint8Array>>): Uint8Array {
  const entries = Object.entries(arrays).map(([name, bytes]) => [`${name}.npy`, bytes] as const);
  return zipSync(Object.fromEntries(entries), { level: 9, mtime: new Date(1980, 0, 1) });
}
