import * as vscode from 'vscode';
import type { StabilityReport, Verdict } from '../report/report.js';
import { BadInputError } from '../errors.js';
import { baseName } from './checkpointFiles.js';
import { boundCommand } from './commands.js';
import { isCancellation } from './errorReporting.js';
import { questionsOf } from './inputCommands.js';
import { pickCheckpoint, workspaceCheckpoints } from './pickCheckpoint.js';
import { followCheck, withNotification } from './progress.js';
import { registerCommand } from './registerCommand.js';
import { openReport } from './reportEditor.js';
import type { Reports } from './reports.js';

export function registerCheckCommands(reports: Reports, log: vscode.LogOutputChannel): vscode.Disposable {
  return vscode.Disposable.from(
    registerCommand(
      'rnnStability.check',
      async (resource, selection) => {
        if (selection && selection.length > 1) {
          await checkAll(selection, reports);
          return undefined;
        }
        const uri = await pickCheckpoint(resource, vscode.l10n.t('Check RNN stability'));
        return uri && checkOne(uri, reports);
      },
      log,
    ),
    registerCommand(
      'rnnStability.checkWorkspace',
      async () => {
        const checkpoints = await workspaceCheckpoints();
        if (checkpoints.length > 0) return checkAll(checkpoints, reports);
        void vscode.window.showInformationMessage(vscode.l10n.t('The workspace has no .onnx or model.json files.'));
      },
      log,
    ),
  );
}

/** The report page shows the outcome, an error too, so a failed check needs no message besides: only what it asks. */
async function checkOne(uri: vscode.Uri, reports: Reports): Promise<StabilityReport | undefined> {
  await openReport(uri);
  try {
    const title = vscode.l10n.t('Checking {0}', baseName(uri));
    return await withNotification(title, (update, signal) => followCheck(reports, uri, update, signal));
  } catch (error) {
    if (!isCancellation(error) && questionsOf(uri, reports).length > 0) {
      const { command, arguments: args = [] } = boundCommand('rnnStability.chooseInputs', '', uri);
      void vscode.commands.executeCommand(command, ...(args as unknown[]));
    }
    if (isCancellation(error) || reports.state(uri).kind === 'failed') return undefined;
    throw error;
  }
}

/** Checks one after the other; a file that cannot be read is a finding of its own and does not stop the rest. */
async function checkAll(checkpoints: readonly vscode.Uri[], reports: Reports): Promise<void> {
  const verdicts: Verdict[] = [];
  let failed = 0;
  let withoutRecurrence = 0;
  let foreign = 0;
  const title = vscode.l10n.t('Checking {0} checkpoints', checkpoints.length);
  await withNotification(title, async (update, signal) => {
    for (const [done, uri] of checkpoints.entries()) {
      const of = (step: string, fraction: number) => update(`${baseName(uri)}: ${step}`, (done + fraction) / checkpoints.length);
      try {
        verdicts.push((await followCheck(reports, uri, of, signal)).verdict);
      } catch (error) {
        if (isCancellation(error)) return;
        const code = error instanceof BadInputError ? error.code : '';
        if (code === 'no-recurrence') withoutRecurrence++;
        else if (code === 'not-tfjs') foreign++;
        else failed++;
      }
    }
  });
  await tellSummary(verdicts, failed, withoutRecurrence, foreign);
}

async function tellSummary(verdicts: Verdict[], failed: number, withoutRecurrence: number, foreign: number): Promise<void> {
  const count = (verdict: Verdict) => verdicts.filter((other) => other === verdict).length;
  const parts = [
    [count('stable'), vscode.l10n.t('stable')],
    [count('stable-on-data'), vscode.l10n.t('stable on data')],
    [count('inconclusive'), vscode.l10n.t('inconclusive')],
    [count('unstable'), vscode.l10n.t('unstable')],
    [withoutRecurrence, vscode.l10n.t('without recurrent layers')],
    [foreign, vscode.l10n.t('model.json of something else')],
    [failed, vscode.l10n.t('could not be read')],
  ] as const;
  const text = parts.flatMap(([n, words]) => (n > 0 ? [`${n} ${words}`] : [])).join(', ');
  if (text === '') return;
  const showProblems = vscode.l10n.t('Show Problems');
  const choice = await vscode.window.showInformationMessage(vscode.l10n.t('Checkpoints: {0}.', text), showProblems);
  if (choice === showProblems) await vscode.commands.executeCommand('workbench.actions.view.problems');
}
