import * as vscode from 'vscode';
import { formatNumber } from '../report/format.js';
import type { LayerReport, StabilityReport } from '../report/report.js';
import { boundCommand } from './commands.js';
import { rangeOf } from './diagnostics.js';
import type { Reports } from './reports.js';

/** Above every recurrent layer of a checked model.json what is known of it, which leads to the report. */
export function registerCodeLenses(reports: Reports): vscode.Disposable {
  const changed = new vscode.EventEmitter<void>();
  const provider: vscode.CodeLensProvider = {
    onDidChangeCodeLenses: changed.event,
    provideCodeLenses: ({ uri }) => {
      const report = reports.report(uri);
      return report?.layers.flatMap((layer) => lensOf(uri, layer, report)) ?? [];
    },
  };
  return vscode.Disposable.from(
    changed,
    reports.onDidChange(() => changed.fire()),
    reports.onDidDelete(() => changed.fire()),
    vscode.languages.registerCodeLensProvider({ pattern: '**/model.json' }, provider),
  );
}

/** A layer's λ, and the k of the whole network, which is the one that an export takes. */
function lensOf(uri: vscode.Uri, { name, lambda, place }: LayerReport, { safeLength }: StabilityReport): vscode.CodeLens[] {
  if (!place) return [];
  const certified = lambda !== null && lambda < 1;
  const first = certified ? `λ = ${formatNumber(lambda)}` : vscode.l10n.t('λ not certified');
  const second = safeLength ? `k = ${safeLength.k}` : vscode.l10n.t('no safe k');
  return [new vscode.CodeLens(rangeOf(place), boundCommand('rnnStability.check', `${name}: ${first}, ${second}`, uri))];
}
