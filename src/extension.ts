import * as vscode from 'vscode';
import { AnalysisWorker } from './vscode/analysisWorker.js';
import { registerCheckCommands } from './vscode/checkCommands.js';
import { registerCodeActions } from './vscode/codeActions.js';
import { registerCodeLenses } from './vscode/codeLenses.js';
import { registerDiagnostics } from './vscode/diagnostics.js';
import { registerExportCommand } from './vscode/exportCommand.js';
import { Exports } from './vscode/exports.js';
import { registerInputCommands } from './vscode/inputCommands.js';
import { registerRechecks } from './vscode/rechecks.js';
import { registerReportEditor } from './vscode/reportEditor.js';
import { registerReportLink } from './vscode/reportLink.js';
import { Reports } from './vscode/reports.js';
import { registerSampleCommands } from './vscode/sampleCommands.js';
import { registerStatusItem } from './vscode/statusItem.js';

/** Wires the parts. Nothing is read or computed here: the worker starts with the first check. */
export function activate(context: vscode.ExtensionContext): void {
  const log = vscode.window.createOutputChannel('RNN Stability', { log: true });
  const worker = new AnalysisWorker(context.asAbsolutePath('dist/worker.js'), (text) => log.error(text));
  const reports = new Reports(worker, log);
  const exports = new Exports(worker);
  context.subscriptions.push(
    log,
    worker,
    reports,
    exports,
    registerDiagnostics(reports),
    registerRechecks(reports),
    registerCodeActions(reports),
    registerCodeLenses(reports),
    registerStatusItem(reports),
    registerReportLink(),
    registerReportEditor(context.extensionUri, reports, exports),
    registerCheckCommands(reports, log),
    registerExportCommand(reports, exports, log),
    registerSampleCommands(log),
    registerInputCommands(reports, log),
  );
}
