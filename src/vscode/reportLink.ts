import * as vscode from 'vscode';
import { openReport } from './reportEditor.js';

/**
 * A Problems row of a binary file opens the file itself, and its light bulb stays off because there is no text model to fix.
 * A related location of this scheme leads from there to the report, where the export is: its editor only passes on.
 */
const scheme = 'rnn-stability-report';
const viewType = 'rnnStability.reportLink';

export function reportLink(checkpoint: vscode.Uri): vscode.Location {
  const uri = vscode.Uri.from({ scheme, path: checkpoint.path, query: checkpoint.toString() });
  return new vscode.Location(uri, new vscode.Position(0, 0));
}

export function registerReportLink(): vscode.Disposable {
  const provider: vscode.CustomReadonlyEditorProvider = {
    openCustomDocument: (uri) => ({ uri, dispose: () => {} }),
    // Only once this editor stands can another one take its place.
    resolveCustomEditor: ({ uri }, panel) => {
      setTimeout(() => {
        panel.dispose();
        void openReport(vscode.Uri.parse(uri.query, true));
      });
    },
  };
  return vscode.window.registerCustomEditorProvider(viewType, provider);
}
