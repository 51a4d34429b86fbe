import * as vscode from 'vscode';
import type { Verdict } from '../report/report.js';
import { boundCommand } from './commands.js';
import { activeCheckpoint } from './pickCheckpoint.js';
import type { CheckState, Reports } from './reports.js';

const icons: Record<Verdict, string> = {
  stable: '$(pass)',
  'stable-on-data': '$(beaker)',
  inconclusive: '$(question)',
  unstable: '$(warning)',
};

/** One status item while a checkpoint is the active tab, in whichever editor: its verdict, and one click to its report. */
export function registerStatusItem(reports: Reports): vscode.Disposable {
  const item = vscode.window.createStatusBarItem('rnnStability.status', vscode.StatusBarAlignment.Right, 100);
  item.name = 'RNN Stability';
  const update = () => {
    const uri = activeCheckpoint();
    if (uri === undefined) return item.hide();
    const state = reports.state(uri);
    // A model.json of another tool.
    if (state.kind === 'failed' && state.code === 'not-tfjs') return item.hide();
    item.text = textFor(state);
    item.tooltip = vscode.l10n.t('Open the RNN stability report');
    item.command = boundCommand('rnnStability.check', item.tooltip, uri);
    item.show();
  };
  update();
  return vscode.Disposable.from(
    item,
    vscode.window.tabGroups.onDidChangeTabs(update),
    vscode.window.tabGroups.onDidChangeTabGroups(update),
    reports.onDidChange(update),
    reports.onDidDelete(update),
  );
}

function textFor(state: CheckState): string {
  switch (state.kind) {
    case 'unchecked':
      return vscode.l10n.t('RNN: not checked');
    case 'running':
      return `$(sync~spin) ${vscode.l10n.t('RNN: checking')}`;
    case 'failed':
      return `$(error) ${vscode.l10n.t('RNN: cannot be read')}`;
    case 'checked': {
      const { verdict, safeLength } = state.report;
      const words = verdict.replaceAll('-', ' ');
      return `${icons[verdict]} RNN: ${words}${safeLength ? `, k = ${safeLength.k}` : ''}`;
    }
  }
}
