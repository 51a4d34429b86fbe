import { zipSync } from 'fflate';
import { describe, expect, it } from 'vitest';
import { halfToNumber, numberToHalf } from '../../src/checkpoint/onnx/tensor.js';
import { readNpy, readSamples } from '../../src/samples/npy.js';

/** A .npy file as NumPy writes it: magic, version, header padded to 64 bytes, data. */
function npy(descr: string, shape: readonly number[], data: Uint8Array, fortran = false): Uint8Array {
  const dict = `{'descr': '${descr}', 'fortran_order': ${fortran ? 'True' : 'False'}, 'shape': (${shape.join(', ')}${shape.length === 1 ? ',' : ''}), }`;
  const header = dict.padEnd(Math.ceil((dict.length + 11) / 64) * 64 - 11) + '\n';
  return Uint8Array.of(
    0x93,
    ...new TextEncoder().encode('NUMPY'),
    1,
    0,
    header.length & 255,
    header.length >> 8,
    ...new TextEncoder().encode(header),
    ...data,
  );
}
const bytes = (values: ArrayBufferView) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

describe('NumPy arrays', () => {
  it('reads floats, integers, both byte orders and a view that does not start at 0', () => {
    const f4 = npy('<f4', [2, 2], bytes(Float32Array.of(1, -2.5, 0, 3)));
    const shifted = new Uint8Array(f4.length + 3);
    shifted.set(f4, 3);
    expect(readNpy(shifted.subarray(3), 'x')).toEqual({ dims: [2, 2], data: Float64Array.of(1, -2.5, 0, 3) });
    expect(readNpy(npy('<i8', [3], bytes(BigInt64Array.of(1n, -2n, 3n))), 'x').data).toEqual(Float64Array.of(1, -2, 3));
    expect(readNpy(npy('>i2', [2], Uint8Array.of(1, 0, 255, 255)), 'x').data).toEqual(Float64Array.of(256, -1));
  });

  it('reads an .npz by array name', () => {
    const zip = zipSync({ 'x.npy': npy('<f8', [1], bytes(Float64Array.of(7))), 'note.txt': new Uint8Array(3) });
    expect([...readSamples(zip, 's.npz')]).toEqual([['x', { dims: [1], data: Float64Array.of(7) }]]);
  });

  it.each<[string, Uint8Array, RegExp]>([
    ['truncated data', npy('<f8', [4], new Uint8Array(8)), /truncated: shape \(4\) needs 32 bytes, 8 are there/],
    ['Fortran order', npy('<f8', [1], new Uint8Array(8), true), /Fortran order/],
    ['complex numbers', npy('<c16', [1], new Uint8Array(16)), /not supported/],
    ['NaN', npy('<f8', [1], bytes(Float64Array.of(NaN))), /holds NaN at position 0/],
    ['another file', new TextEncoder().encode('a,b\n1,2\n'), /neither an .npy nor an .npz/],
    ['a damaged zip', Uint8Array.of(0x50, 0x4b, 3, 4, 1, 2, 3), /damaged/],
  ])('refuses %s', (_, file, message) => expect(() => readSamples(file, 's.npz')).toThrow(message));
});

describe('float16', () => {
  it('survives the round trip for every bit pattern', () => {
    for (let bits = 0; bits < 0x10000; bits++) {
      const value = halfToNumber(bits);
      if (Number.isNaN(value)) expect(numberToHalf(value) & 0x7fff).toBeGreaterThan(0x7c00);
      else expect(numberToHalf(value)).toBe(bits);
    }
  });

  it('rounds to nearest, ties to even, and overflows to infinity', () => {
    expect(halfToNumber(numberToHalf(1 + 2 ** -11))).toBe(1);
    expect(halfToNumber(numberToHalf(1 + 3 * 2 ** -11))).toBe(1 + 2 ** -9);
    expect(numberToHalf(65520)).toBe(0x7c00);
    expect(halfToNumber(numberToHalf(2 ** -25))).toBe(0);
  });
});
