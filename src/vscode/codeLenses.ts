import * as vscode from 'vscode';
import { formatNumber } from '../report/format.js';
import type { LayerReport, StabilityReport } from '../report/report.js';
import { boundCommand } from './commands.js';
import { rangeOf } from './diagnostics.js';
import type { Reports } from './reports.js';

/** Above every recurrent layer of a checked model.json what is known of it; above an unchecked one the way to check it. */
export function registerCodeLenses(reports: Reports): vscode.Disposable {
  const changed = new vscode.EventEmitter<void>();
  const provider: vscode.CodeLensProvider = {
    onDidChangeCodeLenses: changed.event,
    provideCodeLenses: (document) => {
      const report = reports.report(document.uri);
      if (report) return report.layers.flatMap((layer) => lensOf(document.uri, layer, report));
      const unchecked = reports.state(document.uri).kind === 'unchecked' && isTfjsModel(document);
      return unchecked ? [lens(document.uri, new vscode.Range(0, 0, 0, 0), vscode.l10n.t('Check RNN stability'))] : [];
    },
  };
  const pattern = '**/model.json';
  return vscode.Disposable.from(
    changed,
    reports.onDidChange(() => changed.fire()),
    reports.onDidDelete(() => changed.fire()),
    vscode.languages.registerCodeLensProvider({ pattern }, provider),
  );
}

/** Other tools have files of this name too. */
function isTfjsModel(document: vscode.TextDocument): boolean {
  return /"(modelTopology|model_topology)"/.test(document.getText());
}

/** A layer's λ, and the k of the whole network, which is the one that an export takes. */
function lensOf(uri: vscode.Uri, layer: LayerReport, { safeLength }: StabilityReport): vscode.CodeLens[] {
  if (!layer.place) return [];
  const certified = layer.lambda !== null && layer.lambda < 1;
  const lambda = certified ? `λ = ${formatNumber(layer.lambda!)}` : vscode.l10n.t('λ not certified');
  const k = safeLength ? `k = ${safeLength.k}` : vscode.l10n.t('no safe k');
  return [lens(uri, rangeOf(layer.place), `${layer.name}: ${lambda}, ${k}`)];
}

function lens(uri: vscode.Uri, range: vscode.Range, title: string): vscode.CodeLens {
  return new vscode.CodeLens(range, boundCommand('rnnStability.check', title, uri));
}
