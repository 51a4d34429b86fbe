import { readCsv } from './csv.js';
import { readJson } from './json.js';
import { readNpy, readNpz } from './numpy.js';
import { badSamples, type NamedArray } from './sampleArray.js';
import { readTensorProto } from './tensorProto.js';

/** A file of samples with its content. */
export interface SampleFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

interface SampleFormat {
  /** Usual end of the file name. Formats are told apart by content; the name only finds files and names them. */
  readonly extension: string;
  matches(bytes: Uint8Array): boolean;
  /** @throws BadInputError bad-samples that names the place in the file */
  read(bytes: Uint8Array, file: string): NamedArray[];
}

/** The first format that matches reads a file; the last one takes all that is left. */
export const sampleFormats: readonly SampleFormat[] = [
  { extension: 'npz', matches: (b) => b[0] === 0x50 && b[1] === 0x4b, read: readNpz },
  { extension: 'npy', matches: (b) => b[0] === 0x93, read: (b, file) => [{ name: '', where: file, ...readNpy(b, file) }] },
  { extension: 'json', matches: (b) => /^\s*[[{]/.test(beginning(b) ?? ''), read: readJson },
  { extension: 'csv', matches: (b) => beginning(b) !== null, read: readCsv },
  { extension: 'pb', matches: () => true, read: readTensorProto },
];

/** The first characters of a text; null for what is no text. */
function beginning(bytes: Uint8Array): string | null {
  const text = new TextDecoder().decode(bytes.subarray(0, 512));
  // The last character may be cut in two.
  return /[\0-\x08\x0e-\x1f\ufffd]/.test(text.slice(0, -1)) ? null : text;
}

/**
 * The arrays of samples, in the order of file names. In a folder a file's own name says which input it is for: `x.npy` is for
 * the input x and input_0.pb for the first one; any other name is one more sequence.
 * @param files one file, or those of a folder
 * @throws BadInputError bad-samples
 */
export function readSamples(files: readonly SampleFile[]): NamedArray[] {
  const read = ({ name, bytes }: SampleFile) => {
    if (bytes.length === 0) throw badSamples(`${name} is empty`);
    return sampleFormats.find((format) => format.matches(bytes))!.read(bytes, name);
  };
  const sorted = [...files].sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true }));
  const arrays = sorted.flatMap((file) => {
    const stem = file.name.replace(/^.*[\\/]/, '').replace(/\.[^.]*$/, '');
    return read(file).map((array) => (files.length > 1 ? { ...array, stem } : array));
  });
  for (const { where, data, dims } of arrays) {
    const invalid = data.findIndex((v) => !Number.isFinite(v));
    if (invalid >= 0) throw badSamples(`${where} holds ${data[invalid]} at position ${invalid}`);
    if (data.length === 0) throw badSamples(`${where} has shape [${dims.join(', ')}] and so no numbers`);
  }
  return arrays;
}
