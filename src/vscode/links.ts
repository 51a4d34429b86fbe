import * as vscode from 'vscode';

const repository = 'https://github.com/rnn-stability/rnn-stability';

/** The page that explains a diagnostic code. */
export function diagnosticHelp(code: string): vscode.Uri {
  return vscode.Uri.parse(`${repository}/blob/main/docs/diagnostics.md`).with({ fragment: code });
}
