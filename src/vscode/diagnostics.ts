import * as vscode from 'vscode';
import type { Place } from '../checkpoint/place.js';
import { diagnosticHelp } from '../report/help.js';
import type { Diagnostic } from '../report/report.js';
import { reportLink } from './reportLink.js';
import type { CheckState, Reports } from './reports.js';

export const diagnosticSource = 'RNN Stability';

const severities: Record<Diagnostic['severity'], vscode.DiagnosticSeverity> = {
  error: vscode.DiagnosticSeverity.Error,
  warning: vscode.DiagnosticSeverity.Warning,
  information: vscode.DiagnosticSeverity.Information,
  hint: vscode.DiagnosticSeverity.Hint,
};

/** Findings of every checked checkpoint in the Problems panel, at the layer's object in model.json. A binary file has no places. */
export function registerDiagnostics(reports: Reports): vscode.Disposable {
  const openReport = vscode.l10n.t('Open the RNN stability report');
  const collection = vscode.languages.createDiagnosticCollection(diagnosticSource);
  return vscode.Disposable.from(
    collection,
    reports.onDidDelete((uri) => collection.delete(uri)),
    reports.onDidChange((uri) => {
      const findings = findingsOf(reports.state(uri))?.map(toVscode);
      const [first] = findings ?? [];
      if (first) first.relatedInformation = [new vscode.DiagnosticRelatedInformation(reportLink(uri), openReport)];
      if (findings) collection.set(uri, findings);
    }),
  );
}

/** undefined while a check runs: the earlier findings stay until there are new ones. */
function findingsOf(state: CheckState): Diagnostic[] | undefined {
  switch (state.kind) {
    case 'unchecked':
      return [];
    case 'running':
      return undefined;
    case 'checked':
      return state.report.diagnostics;
    case 'failed': {
      const { code, message, place } = state;
      // Other tools have files of the name model.json too.
      if (code === 'not-tfjs') return [];
      // A model that recurs nowhere is nothing wrong: our own exports are such models.
      return [{ code, severity: code === 'no-recurrence' ? 'information' : 'error', message, ...(place ? { place } : {}) }];
    }
  }
}

function toVscode({ code, severity, message, layer, place }: Diagnostic): vscode.Diagnostic {
  const text = layer === undefined || message.includes(layer) ? message : `${layer}: ${message}`;
  const diagnostic = new vscode.Diagnostic(rangeOf(place), text, severities[severity]);
  diagnostic.source = diagnosticSource;
  diagnostic.code = { value: code, target: vscode.Uri.parse(diagnosticHelp(code), true) };
  return diagnostic;
}

/** Places count from one, VS Code from zero. */
export function rangeOf(place: Place | undefined): vscode.Range {
  if (!place) return new vscode.Range(0, 0, 0, 0);
  return new vscode.Range(place.startLine - 1, place.startColumn - 1, place.endLine - 1, place.endColumn - 1);
}
