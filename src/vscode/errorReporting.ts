import * as vscode from 'vscode';
import { BadInputError, CancelledError } from '../errors.js';

export function isCancellation(error: unknown): boolean {
  return error instanceof CancelledError || error instanceof vscode.CancellationError;
}

/** Logs an error and shows it. Cancellation is no error, and a bad input is no defect of ours. */
export function reportError(error: unknown, log: vscode.LogOutputChannel): void {
  if (isCancellation(error)) return;
  if (error instanceof BadInputError) {
    log.warn(error.message);
    void vscode.window.showErrorMessage(error.message);
    return;
  }
  log.error(error instanceof Error ? error : String(error));
  const showLog = vscode.l10n.t('Show Log');
  const text = vscode.l10n.t('RNN Stability failed: {0}', error instanceof Error ? error.message : String(error));
  void vscode.window.showErrorMessage(text, showLog).then((choice) => {
    if (choice === showLog) log.show();
  });
}
