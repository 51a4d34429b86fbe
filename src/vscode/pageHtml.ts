import { randomBytes } from 'node:crypto';
import * as vscode from 'vscode';

/** The page's frame. Everything in it comes later by messages; nothing but our one script and style sheet may load. */
export function pageHtml(webview: vscode.Webview, root: vscode.Uri): string {
  const nonce = randomBytes(16).toString('base64');
  const policy = `default-src 'none'; script-src 'nonce-${nonce}'; style-src ${webview.cspSource};`;
  const file = (name: string) => webview.asWebviewUri(vscode.Uri.joinPath(root, name)).toString();
  return `<!DOCTYPE html>
<html lang="${vscode.env.language}">
<head>
  <meta charset="UTF-8">
  <meta http-equiv="Content-Security-Policy" content="${policy}">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <link rel="stylesheet" href="${file('report.css')}">
  <title>RNN Stability</title>
</head>
<body>
  <main id="page"></main>
  <script nonce="${nonce}" src="${file('report.js')}"></script>
</body>
</html>`;
}
