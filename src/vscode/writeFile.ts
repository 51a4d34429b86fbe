import { randomBytes } from 'node:crypto';
import * as vscode from 'vscode';
import { statOf } from './checkpointFiles.js';

/**
 * Writes a new file beside another under a free name, STEM.ext or STEM-2.ext and so on. Where that folder takes no files the
 * user is asked for a place; undefined: none was chosen.
 */
export async function writeBeside(
  source: vscode.Uri,
  stem: string,
  extension: string,
  bytes: Uint8Array,
): Promise<vscode.Uri | undefined> {
  const folder = vscode.Uri.joinPath(source, '..');
  for (let n = 1; ; n++) {
    const target = vscode.Uri.joinPath(folder, `${stem}${n === 1 ? '' : `-${n}`}${extension}`);
    if (await statOf(target)) continue;
    try {
      await writeWhole(target, bytes, false);
      return target;
    } catch (error) {
      // Another writer was faster: the next name.
      if (await statOf(target)) continue;
      if (!(error instanceof vscode.FileSystemError)) throw error;
      return writeElsewhere(target, bytes);
    }
  }
}

async function writeElsewhere(proposed: vscode.Uri, bytes: Uint8Array): Promise<vscode.Uri | undefined> {
  const target = await vscode.window.showSaveDialog({
    defaultUri: proposed,
    filters: { [vscode.l10n.t('ONNX models')]: ['onnx'] },
  });
  if (target) await writeWhole(target, bytes, true);
  return target;
}

/** Writes to a temporary file and renames it, so that no reader ever sees half a model. */
async function writeWhole(target: vscode.Uri, bytes: Uint8Array, overwrite: boolean): Promise<void> {
  const temporary = target.with({ path: `${target.path}.${randomBytes(4).toString('hex')}.tmp` });
  try {
    await vscode.workspace.fs.writeFile(temporary, bytes);
    await vscode.workspace.fs.rename(temporary, target, { overwrite });
  } catch (error) {
    await vscode.workspace.fs.delete(temporary).then(undefined, () => {});
    throw error;
  }
}
