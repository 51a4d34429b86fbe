import * as vscode from 'vscode';
import { sampleFormats } from '../samples/formats.js';
import { pickCheckpoint } from './pickCheckpoint.js';
import { registerCommand } from './registerCommand.js';
import { excludeGlob, setSamples, takeRangeFromSamples } from './settings.js';

/** Choosing samples, and taking the input range from them. The settings change, and open reports follow the settings. */
export function registerSampleCommands(log: vscode.LogOutputChannel): vscode.Disposable {
  return vscode.Disposable.from(
    registerCommand(
      'rnnStability.chooseSamples',
      async (resource) => {
        const title = vscode.l10n.t('Choose sample sequences');
        const checkpoint = await pickCheckpoint(resource, title);
        const choice = checkpoint && (await pickSamples(checkpoint, title));
        if (choice) await setSamples(checkpoint, choice.uri);
      },
      log,
    ),
    registerCommand(
      'rnnStability.useSampleRange',
      async (resource) => {
        const checkpoint = await pickCheckpoint(resource, vscode.l10n.t('Take the input range from the samples'));
        if (checkpoint) await takeRangeFromSamples(checkpoint);
      },
      log,
    ),
  );
}

const extensions = sampleFormats.map((format) => format.extension);
const mostListed = 50;

/** @returns `uri` undefined: those beside each checkpoint; undefined: nothing was chosen */
async function pickSamples(checkpoint: vscode.Uri, title: string): Promise<{ uri: vscode.Uri | undefined } | undefined> {
  const folder = vscode.workspace.getWorkspaceFolder(checkpoint);
  const glob = `**/*.{${extensions.filter((e) => e !== 'json').join(',')}}`;
  const found = folder
    ? await vscode.workspace.findFiles(new vscode.RelativePattern(folder, glob), excludeGlob(folder), mostListed)
    : [];
  type Item = vscode.QuickPickItem & { choose(): PromiseLike<{ uri: vscode.Uri | undefined } | undefined> };
  const now = (uri: vscode.Uri | undefined) => () => Promise.resolve({ uri });
  const browse = (folders: boolean) => async () => {
    const filters = { [vscode.l10n.t('Sample sequences')]: [...extensions] };
    const options = { title, canSelectFiles: !folders, canSelectFolders: folders, ...(folders ? {} : { filters }) };
    const chosen = await vscode.window.showOpenDialog(options);
    return chosen?.[0] && { uri: chosen[0] };
  };
  const items: Item[] = [
    ...found
      .sort((a, b) => a.path.localeCompare(b.path))
      .map((uri) => ({ label: vscode.workspace.asRelativePath(uri), choose: now(uri) })),
    { label: '', kind: vscode.QuickPickItemKind.Separator, choose: now(undefined) },
    { label: `$(file) ${vscode.l10n.t('Browse for a file…')}`, choose: browse(false) },
    { label: `$(folder) ${vscode.l10n.t('Browse for a folder of files…')}`, choose: browse(true) },
    { label: `$(discard) ${vscode.l10n.t('The samples beside each checkpoint')}`, choose: now(undefined) },
  ];
  const placeHolder = vscode.l10n.t('Sequences of the inputs, on which truncation errors are measured');
  return (await vscode.window.showQuickPick(items, { title, placeHolder }))?.choose();
}
