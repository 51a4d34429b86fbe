import * as vscode from 'vscode';
import { baseName } from './checkpointFiles.js';
import type { Reports } from './reports.js';
import { checksOnSave } from './settings.js';

/** Checks a checkpoint again when a file or setting behind its report changes. Quiet: the outcome shows in Problems. */
export function registerRechecks(reports: Reports): vscode.Disposable {
  return reports.onDidBecomeStale((uri) => {
    if (!checksOnSave(uri)) return;
    const options = { location: vscode.ProgressLocation.Window, title: vscode.l10n.t('Checking {0}', baseName(uri)) };
    // A failure is a diagnostic already.
    void vscode.window.withProgress(options, () => reports.check(uri).catch(() => {}));
  });
}
