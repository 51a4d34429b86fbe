import * as vscode from 'vscode';
import { excludeGlob } from './settings.js';

export const checkpointGlob = '**/{*.onnx,model.json}';

export function isCheckpoint(uri: vscode.Uri): boolean {
  return /\.onnx$|\/model\.json$/i.test(uri.path);
}

/** The checkpoint of the active tab, whichever editor shows it. */
export function activeCheckpoint(): vscode.Uri | undefined {
  const input = vscode.window.tabGroups.activeTabGroup.activeTab?.input;
  const hasResource = input instanceof vscode.TabInputText || input instanceof vscode.TabInputCustom;
  return hasResource && isCheckpoint(input.uri) ? input.uri : undefined;
}

/** The clicked resource, else the active tab's, else one the user picks in the workspace or on disk. */
export async function pickCheckpoint(clicked: vscode.Uri | undefined, title: string): Promise<vscode.Uri | undefined> {
  const known = clicked ?? activeCheckpoint();
  if (known) return known;
  const found = await workspaceCheckpoints();
  if (found.length === 0) return browse(title);
  const elsewhere = { label: `$(folder-opened) ${vscode.l10n.t('Browse…')}`, uri: undefined };
  const separator = { label: '', kind: vscode.QuickPickItemKind.Separator, uri: undefined };
  const items = found.map((uri) => ({ label: vscode.workspace.asRelativePath(uri), uri }));
  const pick = await vscode.window.showQuickPick([...items, separator, elsewhere], {
    title,
    placeHolder: vscode.l10n.t('Choose a checkpoint'),
  });
  return pick === elsewhere ? browse(title) : pick?.uri;
}

/** All checkpoints of the workspace that the `exclude` setting leaves, sorted by path. */
export async function workspaceCheckpoints(token?: vscode.CancellationToken): Promise<vscode.Uri[]> {
  const folders = vscode.workspace.workspaceFolders ?? [];
  const search = folders.map((folder) =>
    vscode.workspace.findFiles(new vscode.RelativePattern(folder, checkpointGlob), excludeGlob(folder), undefined, token),
  );
  return (await Promise.all(search)).flat().sort((a, b) => a.path.localeCompare(b.path));
}

async function browse(title: string): Promise<vscode.Uri | undefined> {
  const chosen = await vscode.window.showOpenDialog({ title, filters: { [vscode.l10n.t('Checkpoints')]: ['onnx', 'json'] } });
  return chosen?.[0];
}
