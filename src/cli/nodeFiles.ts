import { readdir, readFile, realpath } from 'node:fs/promises';
import { dirname, isAbsolute, join, relative, sep } from 'node:path';
import { BadInputError } from '../errors.js';
import type { CheckpointFiles } from '../jobs/jobs.js';

/** Files of a checkpoint on disk, for the command line and the tests. Symbolic links are resolved before a path is trusted. */
export function nodeFiles(path: string, samples?: string): CheckpointFiles {
  const read = async (file: string): Promise<Uint8Array> => {
    try {
      return await readFile(file);
    } catch (error) {
      throw unreadable(error);
    }
  };
  /** undefined: there is no such file or folder. */
  const locate = async (name: string): Promise<string | undefined> => {
    const folder = await realpath(dirname(path));
    let target: string;
    try {
      target = await realpath(join(folder, name));
    } catch {
      return undefined;
    }
    const inside = relative(folder, target);
    if (isAbsolute(inside) || inside === '..' || inside.startsWith(`..${sep}`)) {
      throw new BadInputError('external-data-outside', `"${name}" leads outside the checkpoint's folder`);
    }
    return target;
  };
  return {
    name: path,
    read: () => read(path),
    async readSibling(name) {
      const target = await locate(name);
      return target === undefined ? undefined : read(target);
    },
    async listSibling(name) {
      const target = await locate(name);
      return target === undefined ? undefined : listFolder(target);
    },
    ...(samples === undefined
      ? {}
      : {
          samples: {
            name: samples,
            list: () => listFolder(samples),
            read: (entry) => read(entry === undefined ? samples : join(samples, entry)),
          },
        }),
  };
}

/** Names of the files in a folder; undefined for what is no folder. */
async function listFolder(path: string): Promise<string[] | undefined> {
  try {
    const entries = await readdir(path, { withFileTypes: true });
    return entries.filter((entry) => !entry.isDirectory()).map((entry) => entry.name);
  } catch {
    return undefined;
  }
}

function unreadable(error: unknown): BadInputError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const reasons: Record<string, string> = {
    ENOENT: 'no such file',
    EISDIR: 'this is a folder; name the checkpoint file in it',
    EACCES: 'no permission to read it',
    ERR_FS_FILE_TOO_LARGE: 'the file is larger than 2 GB, which cannot be read at once',
  };
  return new BadInputError('unreadable-file', reasons[code] ?? `it cannot be read (${code || String(error)})`);
}
