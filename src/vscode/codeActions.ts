import * as vscode from 'vscode';
import { proposedLength } from '../report/proposedLength.js';
import { boundCommand } from './commands.js';
import { diagnosticSource } from './diagnostics.js';
import { checkpointGlob } from './pickCheckpoint.js';
import type { Reports } from './reports.js';

/** Quick fixes on a checkpoint's findings: the truncated export, and the page that explains them. */
export function registerCodeActions(reports: Reports): vscode.Disposable {
  const provider: vscode.CodeActionProvider = {
    provideCodeActions: (document, _range, { diagnostics }) => {
      const ours = diagnostics.filter(({ source }) => source === diagnosticSource);
      return ours.length === 0 ? [] : [...exportAction(document.uri, ours, reports), reportAction(document.uri, ours)];
    },
  };
  return vscode.languages.registerCodeActionsProvider({ pattern: checkpointGlob }, provider, {
    providedCodeActionKinds: [vscode.CodeActionKind.QuickFix],
  });
}

function exportAction(uri: vscode.Uri, diagnostics: vscode.Diagnostic[], reports: Reports): vscode.CodeAction[] {
  const report = reports.report(uri);
  const proposed = report && proposedLength(report);
  if (proposed?.basis !== 'safe') return [];
  const title = vscode.l10n.t('Export truncated feedforward ONNX (k = {0})', proposed.length);
  const action = new vscode.CodeAction(title, vscode.CodeActionKind.QuickFix);
  action.command = boundCommand('rnnStability.exportFeedforward', title, uri, proposed.length);
  action.diagnostics = diagnostics;
  action.isPreferred = true;
  return [action];
}

function reportAction(uri: vscode.Uri, diagnostics: vscode.Diagnostic[]): vscode.CodeAction {
  const title = vscode.l10n.t('Open the RNN stability report');
  const action = new vscode.CodeAction(title, vscode.CodeActionKind.QuickFix);
  action.command = boundCommand('rnnStability.check', title, uri);
  action.diagnostics = diagnostics;
  return action;
}
