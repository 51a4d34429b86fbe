import * as vscode from 'vscode';
import { proposedLength } from '../report/proposedLength.js';
import type { StabilityReport } from '../report/report.js';
import { baseName } from './checkpointFiles.js';
import type { Exports } from './exports.js';
import { pickCheckpoint } from './pickCheckpoint.js';
import { followCheck, withNotification } from './progress.js';
import { registerCommand } from './registerCommand.js';
import { openReport } from './reportEditor.js';
import type { Reports } from './reports.js';
import { revealFile } from './revealFile.js';

const longestWindow = 100_000;

export function registerExportCommand(reports: Reports, exports: Exports, log: vscode.LogOutputChannel): vscode.Disposable {
  return registerCommand(
    'rnnStability.exportFeedforward',
    async (resource, given) => {
      const uri = await pickCheckpoint(resource, vscode.l10n.t('Export truncated feedforward ONNX'));
      if (uri === undefined) return undefined;
      const length = typeof given === 'number' ? given : await askLength(uri, reports);
      if (length === undefined) return undefined;
      const title = vscode.l10n.t('Exporting {0} with {1} steps', baseName(uri), length);
      const done = await withNotification(title, (update, signal) => exports.export(uri, length, update, signal));
      if (done === undefined) return undefined;
      log.info(`${done.target.fsPath}: ${done.verification.summary}`);
      // Not awaited: the command is done when the file is written, not when its message is closed.
      void tellExported(uri, done.target, done.verification.summary);
      return done.target;
    },
    log,
  );
}

async function askLength(uri: vscode.Uri, reports: Reports): Promise<number | undefined> {
  const title = vscode.l10n.t('Checking {0}', baseName(uri));
  const report = await withNotification(title, (update, signal) => followCheck(reports, uri, update, signal));
  const answer = await vscode.window.showInputBox({
    title: vscode.l10n.t('Export truncated feedforward ONNX'),
    prompt: promptFor(report),
    value: String(proposedLength(report).length),
    validateInput: (text) => (isLength(text) ? undefined : vscode.l10n.t('A whole number of steps from 1 to {0}', longestWindow)),
  });
  return answer === undefined ? undefined : Number(answer);
}

function promptFor(report: StabilityReport): string {
  switch (proposedLength(report).basis) {
    case 'safe':
      return report.safeLength?.basis === 'certified'
        ? vscode.l10n.t('Past steps to keep. The proposed number is certified for an error of at most {0}.', report.epsilon)
        : vscode.l10n.t(
            'Past steps to keep. The proposed number was measured on the samples for an error of at most {0}.',
            report.epsilon,
          );
    case 'measured':
      return vscode.l10n.t('Past steps to keep. The proposed number has no guarantee: it was enough on the measured windows.');
    case 'longest':
      return vscode.l10n.t(
        'Past steps to keep. No length is known to be enough; the proposed number is the longest one considered.',
      );
  }
}

function isLength(text: string): boolean {
  return /^\d+$/.test(text.trim()) && Number(text) >= 1 && Number(text) <= longestWindow;
}

async function tellExported(source: vscode.Uri, target: vscode.Uri, summary: string): Promise<void> {
  const reveal = vscode.l10n.t('Reveal');
  const open = vscode.l10n.t('Open report');
  const choice = await vscode.window.showInformationMessage(
    vscode.l10n.t('Wrote {0}. {1}', baseName(target), summary),
    reveal,
    open,
  );
  if (choice === reveal) await revealFile(target);
  if (choice === open) await openReport(source);
}
