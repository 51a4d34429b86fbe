import { readSamples, sampleFormats, type SampleFile } from '../samples/formats.js';
import { badSamples, type NamedArray } from '../samples/sampleArray.js';
import type { CheckpointFiles, ChosenSamples } from './jobs.js';

/** The samples of one checkpoint, as they lie in their files. */
export interface FoundSamples {
  /** File or folder, for messages. */
  readonly name: string;
  readonly arrays: readonly NamedArray[];
}

/** Samples that the user named, or those beside the checkpoint: NAME.samples.npz, .npy, .json, .csv, .pb, or a folder NAME.samples. */
export async function findSamples(files: CheckpointFiles): Promise<FoundSamples | null> {
  if (files.samples) return { name: files.samples.name, arrays: readSamples(await readAll(files.samples)) };
  const stem = files.name
    .split(/[\\/]/)
    .pop()!
    .replace(/\.[^.]*$/, '');
  for (const { extension } of sampleFormats) {
    const name = `${stem}.samples.${extension}`;
    const bytes = await files.readSibling(name);
    if (bytes) return { name, arrays: readSamples([{ name, bytes }]) };
  }
  const folder = `${stem}.samples`;
  const entries = await files.listSibling?.(folder);
  if (!entries) return null;
  const read = async (entry = '') => (await files.readSibling(`${folder}/${entry}`)) ?? new Uint8Array();
  const chosen: ChosenSamples = { name: folder, list: () => Promise.resolve(entries), read };
  return { name: folder, arrays: readSamples(await readAll(chosen)) };
}

async function readAll(samples: ChosenSamples): Promise<SampleFile[]> {
  const entries = await samples.list?.();
  if (!entries) return [{ name: samples.name, bytes: await samples.read() }];
  // Hidden files are the file manager's, not the user's.
  const names = entries.filter((entry) => !entry.startsWith('.'));
  if (names.length === 0) throw badSamples(`${samples.name} is an empty folder`);
  const files: SampleFile[] = [];
  for (const entry of names) files.push({ name: `${samples.name}/${entry}`, bytes: await samples.read(entry) });
  return files;
}
