import * as vscode from 'vscode';
import type { StabilityReport } from '../report/report.js';
import type { OnProgress } from './analysisWorker.js';
import type { Reports } from './reports.js';

/** Runs work under a cancellable notification that shows its steps. */
export function withNotification<T>(title: string, work: (update: OnProgress, signal: AbortSignal) => Promise<T>): Thenable<T> {
  const options = { location: vscode.ProgressLocation.Notification, cancellable: true, title };
  return vscode.window.withProgress(options, (progress, token) => {
    const abort = new AbortController();
    token.onCancellationRequested(() => abort.abort());
    let shown = 0;
    const update: OnProgress = (step, fraction) => {
      progress.report({ message: step, increment: Math.max(0, fraction - shown) * 100 });
      shown = Math.max(shown, fraction);
    };
    return work(update, abort.signal);
  });
}

/** Follows the check of one checkpoint, which may have been started by somebody else, and cancels it with the signal. */
export async function followCheck(
  reports: Reports,
  uri: vscode.Uri,
  update: OnProgress,
  signal: AbortSignal,
): Promise<StabilityReport> {
  const follow = reports.onDidChange((changed) => {
    const state = reports.state(uri);
    if (changed.toString() === uri.toString() && state.kind === 'running') update(state.step, state.fraction);
  });
  const cancel = () => reports.cancel(uri);
  signal.addEventListener('abort', cancel);
  try {
    return await reports.check(uri);
  } finally {
    signal.removeEventListener('abort', cancel);
    follow.dispose();
  }
}
