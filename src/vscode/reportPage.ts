import * as vscode from 'vscode';
import { isFromPage, type FromPage, type ToPage } from '../report/messages.js';
import { boundCommand } from './commands.js';
import { baseName, statOf } from './checkpointFiles.js';
import type { Exports } from './exports.js';
import { pageHtml } from './pageHtml.js';
import type { Reports } from './reports.js';
import { revealFile } from './revealFile.js';

/** One open report: passes the states of its checkpoint to the page and the page's wishes to the services. */
export class ReportPage implements vscode.Disposable {
  readonly #subscriptions: vscode.Disposable[];
  #disposed = false;
  #ready = false;

  constructor(
    private readonly uri: vscode.Uri,
    private readonly panel: vscode.WebviewPanel,
    extensionUri: vscode.Uri,
    private readonly reports: Reports,
    private readonly exports: Exports,
  ) {
    const root = vscode.Uri.joinPath(extensionUri, 'dist', 'webview');
    const mine = (changed: vscode.Uri) => changed.toString() === uri.toString();
    this.#subscriptions = [
      panel.webview.onDidReceiveMessage((message: unknown) => {
        if (isFromPage(message)) void this.#receive(message);
      }),
      reports.onDidChange((changed) => mine(changed) && this.#sendCheck()),
      exports.onDidChange((changed) => mine(changed) && this.#sendExport()),
      // An open page is never stale, whatever checkOnSave says of the Problems panel.
      reports.onDidBecomeStale((changed) => mine(changed) && this.#check()),
      reports.onDidDelete((changed) => mine(changed) && panel.dispose()),
    ];
    panel.webview.options = { enableScripts: true, localResourceRoots: [root] };
    panel.webview.html = pageHtml(panel.webview, root);
    this.#check();
  }

  dispose(): void {
    this.#disposed = true;
    vscode.Disposable.from(...this.#subscriptions).dispose();
  }

  async #receive(message: FromPage): Promise<void> {
    switch (message.type) {
      case 'ready':
        return this.#sendAll();
      case 'check':
        return this.#check(true);
      case 'cancel':
        this.reports.cancel(this.uri);
        this.exports.cancel(this.uri);
        return;
      case 'chooseSamples':
      case 'chooseInputs':
      case 'useSampleRange': {
        const { command, arguments: args = [] } = boundCommand(`rnnStability.${message.type}`, '', this.uri);
        await vscode.commands.executeCommand(command, ...(args as unknown[]));
        return;
      }
      case 'export': {
        const { command, arguments: args = [] } = boundCommand('rnnStability.exportFeedforward', '', this.uri, message.length);
        await vscode.commands.executeCommand(command, ...(args as unknown[]));
        return;
      }
      case 'reveal': {
        // The page names no file of its own choice: only the last export is revealed.
        const last = this.exports.state(this.uri);
        if (last?.kind === 'done') await revealFile(last.target);
        return;
      }
    }
  }

  #check(again = false): void {
    // The outcome reaches the page as a state.
    this.reports.check(this.uri, { again }).catch(() => {});
  }

  async #sendAll(): Promise<void> {
    const stat = await statOf(this.uri);
    if (this.#disposed) return;
    this.#ready = true;
    this.#send({ type: 'header', header: { name: baseName(this.uri), bytes: stat?.size ?? 0 } });
    const known = this.reports.report(this.uri);
    if (known && this.reports.state(this.uri).kind === 'running') this.#send({ type: 'report', report: known });
    this.#sendCheck();
    if (this.exports.state(this.uri)) this.#sendExport();
  }

  #sendCheck(): void {
    const state = this.reports.state(this.uri);
    switch (state.kind) {
      case 'running':
        return this.#send({ type: 'progress', step: state.step, fraction: state.fraction });
      case 'checked':
        return this.#send({ type: 'report', report: state.report });
      case 'failed':
        return this.#send({ type: 'error', message: state.message, asks: state.question !== undefined });
      case 'unchecked':
        return this.#send({ type: 'idle' });
    }
  }

  #sendExport(): void {
    const state = this.exports.state(this.uri);
    switch (state?.kind) {
      case 'running':
        this.#send({ type: 'exporting', length: state.length });
        return this.#send({ type: 'progress', step: state.step, fraction: state.fraction });
      case 'done':
        return this.#send({
          type: 'exported',
          path: vscode.workspace.asRelativePath(state.target),
          verification: state.verification,
        });
      case 'failed':
        return this.#send({ type: 'exportFailed', message: state.message });
      case undefined:
        return this.#send({ type: 'idle' });
    }
  }

  #send(message: ToPage): void {
    if (this.#ready && !this.#disposed) void this.panel.webview.postMessage(message);
  }
}
