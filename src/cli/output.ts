import { access, open, realpath, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { BadInputError } from '../errors.js';

/** Where a command writes its model. */

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** Refuses before any work is done to replace the checkpoint, or a file that was not offered for it. */
export async function checkTarget(output: string, checkpoint: string, force: boolean): Promise<void> {
  const target = resolve(output);
  if (!(await exists(target))) return;
  if ((await realpath(target)) === (await realpath(checkpoint).catch(() => ''))) {
    throw new BadInputError('same-file', 'the output would replace the checkpoint itself; name another file');
  }
  if (!force) throw new BadInputError('file-exists', `${output} exists; choose another name or pass --force`);
}

/** Writes beside the target and renames, so that a failure leaves nothing half-written behind. */
export async function writeAtomically(output: string, bytes: Uint8Array): Promise<void> {
  const path = resolve(output);
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.tmp`);
  try {
    const file = await open(temporary, 'wx');
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    const reason = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    throw new BadInputError('unwritable-file', `${output} cannot be written (${reason})`);
  }
}
