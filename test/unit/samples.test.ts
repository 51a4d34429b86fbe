import { zipSync } from 'fflate';
import { describe, expect, it } from 'vitest';
import { toBinary } from '@bufbuild/protobuf';
import { TensorProtoSchema } from '../../src/checkpoint/onnx/onnx_pb.js';
import { DataType, halfToNumber, numberToHalf, tensorProto } from '../../src/checkpoint/onnx/tensor.js';
import { readSamples } from '../../src/samples/formats.js';
import type { InputAxes, ModelInput } from '../../src/samples/modelInputs.js';
import { readNpy } from '../../src/samples/numpy.js';
import type { NamedArray } from '../../src/samples/sampleArray.js';
import { sampleBatches } from '../../src/samples/sampleBatches.js';

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
const text = (content: string) => new TextEncoder().encode(content);
const one = (content: Uint8Array, name = 's') => readSamples([{ name, bytes: content }]);
const pb = (name: string, dims: readonly number[], data: readonly number[]) =>
  toBinary(TensorProtoSchema, tensorProto(name, DataType.FLOAT, dims, data));

describe('NumPy arrays', () => {
  it('reads floats, integers, both byte orders and a view that does not start at 0', () => {
    const f4 = npy('<f4', [2, 2], bytes(Float32Array.of(1, -2.5, 0, 3)));
    const shifted = new Uint8Array(f4.length + 3);
    shifted.set(f4, 3);
    expect(readNpy(shifted.subarray(3), 'x')).toEqual({ dims: [2, 2], data: Float64Array.of(1, -2.5, 0, 3) });
    expect(readNpy(npy('<i8', [3], bytes(BigInt64Array.of(1n, -2n, 3n))), 'x').data).toEqual(Float64Array.of(1, -2, 3));
    expect(readNpy(npy('>i2', [2], Uint8Array.of(1, 0, 255, 255)), 'x').data).toEqual(Float64Array.of(256, -1));
  });

  it('reads an .npz by array name; the names that NumPy makes up are none', () => {
    const zip = zipSync({
      'x.npy': npy('<f8', [1], bytes(Float64Array.of(7))),
      'arr_0.npy': npy('<f8', [1], bytes(Float64Array.of(8))),
      'note.txt': new Uint8Array(3),
    });
    expect(one(zip).map(({ name, data }) => [name, data[0]])).toEqual([
      ['x', 7],
      ['', 8],
    ]);
  });
});

describe('text', () => {
  it.each([
    ['commas and a header', 'a,b\n1,2\n3,-4e-1\n'],
    ['tabs and Windows line ends', '1\t2\r\n3\t-0.4\r\n'],
    ['semicolons, decimal commas, quotes and a byte order mark', '\ufeff"a";"b"\n1;"2"\n3;-0,4'],
    ['empty lines', '\n1,2\n\n3,-0.4\n\n'],
  ])('reads a .csv with %s', (_, content) => {
    expect(one(text(content))).toEqual([
      { name: '', where: 's', dims: [2, 2], data: Float64Array.of(1, 2, 3, -0.4), table: true },
    ]);
  });

  it('splits a .csv by its column named sequence, wherever that stands', () => {
    const arrays = one(text('t,sequence\n1,a\n2,a\n3,b\n4,a\n'));
    expect(arrays.map(({ where, dims, data }) => [where, dims, [...data]])).toEqual([
      ['s, sequence a', [3, 1], [1, 2, 4]],
      ['s, sequence b', [1, 1], [3]],
    ]);
  });

  it('reads .json lists, objects by input name, and sequences of different lengths', () => {
    expect(one(text(' [[1, 2], [3, 4]]'))).toMatchObject([{ name: '', dims: [2, 2], data: Float64Array.of(1, 2, 3, 4) }]);
    expect(one(text('{"x": [1], "y": [[2]]}'))).toMatchObject([
      { name: 'x', dims: [1] },
      { name: 'y', dims: [1, 1] },
    ]);
    expect(one(text('[[[1], [2]], [[3]]]'))).toMatchObject([
      { where: 's[0]', dims: [2, 1] },
      { where: 's[1]', dims: [1, 1] },
    ]);
  });
});

describe('ONNX tensors and folders', () => {
  it('reads a serialized TensorProto with its name', () => {
    expect(one(pb('x', [2], [1, 2]))).toEqual([
      { name: 'x', where: 's', dims: [2], type: DataType.FLOAT, data: Float64Array.of(1, 2) },
    ]);
  });

  it('reads a folder in the order of its numbers', () => {
    const files = ['take10.csv', 'take2.csv'].map((name, i) => ({ name: `d/${name}`, bytes: text(`${i}\n`) }));
    expect(readSamples(files).map(({ stem, data }) => [stem, data[0]])).toEqual([
      ['take2', 1],
      ['take10', 0],
    ]);
  });
});

describe('what is refused', () => {
  it.each<[string, Uint8Array, RegExp]>([
    ['truncated data', npy('<f8', [4], new Uint8Array(8)), /truncated: shape \(4\) needs 32 bytes, 8 are there/],
    ['Fortran order', npy('<f8', [1], new Uint8Array(8), true), /Fortran order/],
    ['complex numbers', npy('<c16', [1], new Uint8Array(16)), /not supported/],
    ['NaN', npy('<f8', [1], bytes(Float64Array.of(NaN))), /holds NaN at position 0/],
    ['no numbers', npy('<f8', [0, 3], new Uint8Array()), /shape \[0, 3\] and so no numbers/],
    ['an empty file', new Uint8Array(), /^s\.x is empty/],
    ['words', text('time,speed\n1,fast\n'), /s\.x, line 2, column 2: "fast" is not a number/],
    ['a missing cell', text('1,2\n3\n'), /line 2 has 1 columns where the first line has 2/],
    ['a header alone', text('a,b\n'), /no rows of numbers/],
    ['broken JSON', text('[1, 2'), /no JSON/],
    ['a word in JSON', text('{"x": [[1, 2], [3, "a"]]}'), /s\.x:x\[1\]\[1\] is "a", not a number/],
    ['a hole in JSON', text('[[[1], [2, 3]]]'), /s\.x\[0\]\[1\] has 2 elements where its neighbours have 1/],
    ['a damaged zip', Uint8Array.of(0x50, 0x4b, 3, 4, 1, 2, 3), /damaged/],
    ['other bytes', Uint8Array.of(0, 1, 2, 3, 255, 254), /neither \.npy, \.npz, \.csv, \.json nor a serialized ONNX tensor/],
    ['a tensor with too little data', pb('x', [1], [1]).map((v, i) => (i === 2 ? 9 : v)), /s\.x: tensor/],
  ])('%s', (_, file, message) => expect(() => one(file, 's.x')).toThrow(message));
});

const input = (change: Partial<ModelInput> = {}): ModelInput => ({
  name: 'x',
  type: DataType.FLOAT,
  dims: [null, null, 2],
  batchAxis: 0,
  timeAxis: 1,
  tokens: null,
  isLength: false,
  ...change,
});
const axesOf = (...inputs: ModelInput[]): InputAxes => ({ inputs, time: null, batch: null });
const array = (dims: readonly number[], change: Partial<NamedArray> = {}): NamedArray => ({
  name: '',
  where: 'file',
  dims,
  data: Float64Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => i),
  ...change,
});
const shapes = (axes: InputAxes, arrays: NamedArray[]) =>
  sampleBatches(axes, arrays, 'file').map((batch) => [batch.sequences, batch.steps, batch.feeds.get('x')!.dims]);

describe('samples as batches', () => {
  it('take any number of sequences, one sequence, or a table of steps', () => {
    expect(shapes(axesOf(input()), [array([5, 7, 2])])).toEqual([[5, 7, [5, 7, 2]]]);
    expect(shapes(axesOf(input()), [array([7, 2])])).toEqual([[1, 7, [1, 7, 2]]]);
    expect(shapes(axesOf(input({ dims: [null, null], tokens: 20 })), [array([7, 1], { table: true })])).toEqual([[1, 7, [1, 7]]]);
  });

  it('put the columns of a table where the input has its features', () => {
    // [features, time, batch]: step 0 holds 0 and 1, step 1 holds 2 and 3.
    const across = input({ dims: [2, null, null], timeAxis: 1, batchAxis: 2 });
    const [batch] = sampleBatches(axesOf(across), [array([3, 2], { table: true })], 'file');
    expect([...batch!.feeds.get('x')!.data]).toEqual([0, 2, 4, 1, 3, 5]);
    const image = input({ dims: [null, null, 2, 3] });
    expect(sampleBatches(axesOf(image), [array([2, 6], { table: true })], 'file')[0]!.feeds.get('x')!.dims).toEqual([1, 2, 2, 3]);
  });

  it('are one batch for every length', () => {
    const arrays = [array([4, 2]), array([3, 4, 2]), array([6, 2])];
    expect(shapes(axesOf(input()), arrays)).toEqual([
      [4, 4, [4, 4, 2]],
      [1, 6, [1, 6, 2]],
    ]);
  });

  it('belong to inputs by name, by file name, or by number; expected outputs are left out', () => {
    const axes = axesOf(input(), input({ name: 'y' }));
    for (const names of [
      [{ name: 'x' }, { name: 'y' }],
      [{ stem: 'x' }, { stem: 'y' }],
      [{ stem: 'input_0' }, { stem: 'input_1' }, { stem: 'output_0' }],
    ]) {
      const batches = sampleBatches(
        axes,
        names.map((n) => array([2, 3, 2], n)),
        'file',
      );
      expect(batches.map((b) => [b.sequences, [...b.feeds.keys()]])).toEqual([[2, ['x', 'y']]]);
    }
  });

  it.each<[string, InputAxes, NamedArray[], RegExp]>([
    ['another shape', axesOf(input()), [array([5, 7, 3])], /has shape \[5, 7, 3\], the model's input is \[sequences, time, 2\]/],
    [
      'a missing input',
      axesOf(input(), input({ name: 'y' })),
      [array([5, 7, 2], { name: 'x' })],
      /file: no array named "y" with shape \[sequences, time, 2\]; it holds "x" \[5, 7, 2\]/,
    ],
    [
      'inputs with different numbers of sequences',
      axesOf(input(), input({ name: 'y' })),
      [array([5, 7, 2], { name: 'x' }), array([4, 7, 2], { name: 'y' })],
      /input "y" has 4 sequences and input "x" 5/,
    ],
    [
      'inputs with different numbers of steps',
      axesOf(input(), input({ name: 'y' })),
      [array([5, 7, 2], { name: 'x' }), array([5, 8, 2], { name: 'y' })],
      /has 8 steps and file, which goes with it, 7/,
    ],
    [
      'a token beyond the table',
      axesOf(input({ dims: [null, null], tokens: 3 })),
      [array([2, 2])],
      /file holds the token 3; the embedding has 3 rows/,
    ],
  ])('are refused with %s', (_, axes, arrays, message) => expect(() => sampleBatches(axes, arrays, 'file')).toThrow(message));
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
