import * as vscode from 'vscode';
import type { Exports } from './exports.js';
import { ReportPage } from './reportPage.js';
import type { Reports } from './reports.js';

const viewType = 'rnnStability.report';

/** The report as a read-only custom editor of the checkpoint. */
export function registerReportEditor(extensionUri: vscode.Uri, reports: Reports, exports: Exports): vscode.Disposable {
  const provider: vscode.CustomReadonlyEditorProvider = {
    openCustomDocument: (uri) => ({ uri, dispose: () => {} }),
    resolveCustomEditor: async ({ uri }, panel) => {
      const page = new ReportPage(uri, panel, extensionUri, reports, exports);
      panel.onDidDispose(() => page.dispose());
    },
  };
  return vscode.window.registerCustomEditorProvider(viewType, provider, { supportsMultipleEditorsPerDocument: true });
}

export async function openReport(uri: vscode.Uri): Promise<void> {
  await vscode.commands.executeCommand('vscode.openWith', uri, viewType);
}
