import * as vscode from 'vscode';
import { BadInputError, CancelledError } from '../errors.js';

export function isCancellation(error: unknown): boolean {
  return error instanceof CancelledError || error instanceof vscode.CancellationError;
}

/** Messages of the core follow a file's name and a colon; standing alone they are sentences. */
export function asSentence(message: string): string {
  const start = /^[a-z]+[ ,]/.test(message) ? message.charAt(0).toUpperCase() + message.slice(1) : message;
  return /[.!?]$/.test(start) ? start : `${start}.`;
}

/** A bad input as a message that stands alone says which file it is about. */
export function namingFile(error: unknown, name: string): unknown {
  if (!(error instanceof BadInputError)) return error;
  return new BadInputError(error.code, `${name}: ${error.message}`, error.place, error.question);
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
