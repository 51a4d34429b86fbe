import { access, open, realpath, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { BadInputError } from '../errors.js';
import { nodeFiles } from './nodeFiles.js';
import { exportTruncated } from '../jobs/export.js';
import { formatNumber } from '../report/format.js';
import type { InferenceRuntime } from '../runtime/inference.js';
import { describeFailure } from './failure.js';
import { checkOptions, terminalProgress, type CommonArguments } from './options.js';

interface ExportArguments extends CommonArguments {
  output: string;
  length: number | 'auto';
  force?: boolean;
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** Writes beside the target and renames, so that a failure leaves nothing half-written behind. */
async function writeAtomically(path: string, bytes: Uint8Array): Promise<void> {
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
    throw new BadInputError(
      'unwritable-file',
      `cannot be written (${error instanceof Error && 'code' in error ? String(error.code) : String(error)})`,
    );
  }
}

export async function exportCommand(file: string, args: ExportArguments, runtime: InferenceRuntime): Promise<void> {
  const progress = terminalProgress();
  try {
    const target = resolve(args.output);
    if (await exists(target)) {
      if ((await realpath(target)) === (await realpath(file).catch(() => ''))) {
        throw new BadInputError('same-file', 'the output would replace the checkpoint itself; name another file');
      }
      if (!args.force) throw new BadInputError('file-exists', `${args.output} exists; choose another name or pass --force`);
    }
    const result = await exportTruncated(
      nodeFiles(file, args.samples),
      { ...checkOptions(args), length: args.length },
      runtime,
      progress.report,
    );
    progress.clear();
    const { verification } = result;
    await writeAtomically(target, result.model).catch((error: unknown) => {
      throw error instanceof BadInputError ? new BadInputError(error.code, `${args.output} ${error.message}`) : error;
    });
    console.log(
      `${args.output}: ${formatNumber(verification.bytes / 1000)} kB, ${verification.nodes} nodes, no recurrent operator`,
    );
    console.log(verification.summary);
  } catch (error) {
    progress.clear();
    console.error(`error: ${describeFailure(error, file)}`);
    process.exitCode = 2;
  }
}
