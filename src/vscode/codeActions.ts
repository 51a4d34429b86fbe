import * as vscode from 'vscode';
import { proposedLength } from '../report/proposedLength.js';
import { boundCommand } from './commands.js';
import { diagnosticSource } from './diagnostics.js';
import { questionsOf } from './inputCommands.js';
import { checkpointGlob } from './pickCheckpoint.js';
import type { Reports } from './reports.js';

/** Quick fixes on a checkpoint's findings: the truncated export, and the page that explains them. */
export function registerCodeActions(reports: Reports): vscode.Disposable {
  const provider: vscode.CodeActionProvider = {
    provideCodeActions: (document, _range, { diagnostics }) => {
      const ours = diagnostics.filter(({ source }) => source === diagnosticSource);
      if (ours.length === 0) return [];
      const { uri } = document;
      return [
        ...exportAction(uri, ours, reports),
        ...rangeAction(uri, ours, reports),
        ...samplesAction(uri, ours),
        ...inputsAction(uri, ours, reports),
        reportAction(uri, ours),
      ];
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

/** Codes are strings or hold one beside the link to their page. */
function withCode(diagnostics: readonly vscode.Diagnostic[], ...codes: string[]): vscode.Diagnostic[] {
  return diagnostics.filter(({ code }) => codes.includes(String(typeof code === 'object' ? code.value : code)));
}

/** Certificates for the range that the samples fill, where an assumed or a stated range does not suit them. */
function rangeAction(uri: vscode.Uri, diagnostics: vscode.Diagnostic[], reports: Reports): vscode.CodeAction[] {
  const concerned = withCode(diagnostics, 'default-input-range', 'samples-outside-range');
  if (concerned.length === 0 || reports.report(uri)?.curve.measuredOn?.source !== 'samples') return [];
  const title = vscode.l10n.t('Take the input range from the samples');
  const action = new vscode.CodeAction(title, vscode.CodeActionKind.QuickFix);
  action.command = boundCommand('rnnStability.useSampleRange', title, uri);
  action.diagnostics = concerned;
  return [action];
}

function samplesAction(uri: vscode.Uri, diagnostics: vscode.Diagnostic[]): vscode.CodeAction[] {
  const concerned = withCode(diagnostics, 'no-samples', 'too-few-samples', 'inconclusive', 'bad-samples');
  if (concerned.length === 0) return [];
  const title = vscode.l10n.t('Choose sample sequences…');
  const action = new vscode.CodeAction(title, vscode.CodeActionKind.QuickFix);
  action.command = boundCommand('rnnStability.chooseSamples', title, uri);
  action.diagnostics = concerned;
  return [action];
}

/** What the graph alone does not say: a sample rate, a size, which output goes back to which input. */
function inputsAction(uri: vscode.Uri, diagnostics: vscode.Diagnostic[], reports: Reports): vscode.CodeAction[] {
  const asking = ['input-not-set', 'input-value-assumed', 'free-size-assumed', 'state-pairs-ambiguous', 'no-recurrence'];
  const concerned = withCode(diagnostics, ...asking);
  if (concerned.length === 0 || questionsOf(uri, reports).length === 0) return [];
  const title = vscode.l10n.t('Set inputs and states…');
  const action = new vscode.CodeAction(title, vscode.CodeActionKind.QuickFix);
  action.command = boundCommand('rnnStability.chooseInputs', title, uri);
  action.diagnostics = concerned;
  return [action];
}

function reportAction(uri: vscode.Uri, diagnostics: vscode.Diagnostic[]): vscode.CodeAction {
  const title = vscode.l10n.t('Open the RNN stability report');
  const action = new vscode.CodeAction(title, vscode.CodeActionKind.QuickFix);
  action.command = boundCommand('rnnStability.check', title, uri);
  action.diagnostics = diagnostics;
  return action;
}
