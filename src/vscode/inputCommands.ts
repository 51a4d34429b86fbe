import * as vscode from 'vscode';
import type { Question } from '../errors.js';
import { baseName } from './checkpointFiles.js';
import { pickCheckpoint } from './pickCheckpoint.js';
import { registerCommand } from './registerCommand.js';
import type { Reports } from './reports.js';
import { setGiven } from './settings.js';

/** Values of inputs that decide a branch, open sizes, and state pairs: the settings change, and reports follow the settings. */
export function registerInputCommands(reports: Reports, log: vscode.LogOutputChannel): vscode.Disposable {
  return registerCommand(
    'rnnStability.chooseInputs',
    async (resource) => {
      const checkpoint = await pickCheckpoint(resource, vscode.l10n.t('Set inputs and states of a streaming model'));
      if (checkpoint) await chooseInputs(checkpoint, reports);
    },
    log,
  );
}

/** What the last check asked or assumed. */
export function questionsOf(checkpoint: vscode.Uri, reports: Reports): readonly Question[] {
  const state = reports.state(checkpoint);
  if (state.kind === 'failed') return state.question ? [state.question] : [];
  return reports.report(checkpoint)?.diagnostics.flatMap(({ question }) => (question ? [question] : [])) ?? [];
}

async function chooseInputs(checkpoint: vscode.Uri, reports: Reports): Promise<void> {
  type Item = vscode.QuickPickItem & { choose?(): Promise<void> };
  const title = vscode.l10n.t('Set inputs and states of {0}', baseName(checkpoint));
  const answers = questionsOf(checkpoint, reports).flatMap(({ about, answers }) => answers.map((answer) => ({ about, answer })));
  const ask = (about: Question['about'], prompt: string, value: string) => async () => {
    const answer = await vscode.window.showInputBox({ title, prompt, value, validateInput: problemWith });
    if (answer !== undefined) await setGiven(checkpoint, about, answer.trim());
  };
  const description = {
    set: vscode.l10n.t('value or shape of an input'),
    states: vscode.l10n.t('input and the output that is fed back to it'),
  };
  const ready = answers.filter(({ answer }) => problemWith(answer) === undefined);
  const [asked] = answers.filter(({ about }) => about === 'set');
  const items: Item[] = [
    ...ready.map(({ about, answer }) => ({
      label: answer,
      description: description[about],
      choose: () => setGiven(checkpoint, about, answer),
    })),
    { label: '', kind: vscode.QuickPickItemKind.Separator },
    {
      label: `$(edit) ${vscode.l10n.t('Another input or value…')}`,
      choose: ask('set', vscode.l10n.t('NAME=VALUE, such as sr=16000, or a shape, such as input=1x512'), asked?.answer ?? ''),
    },
    {
      label: `$(edit) ${vscode.l10n.t('Another state pair…')}`,
      choose: ask('states', vscode.l10n.t('IN=OUT: the output OUT is fed back to the input IN'), ''),
    },
    {
      label: `$(discard) ${vscode.l10n.t('Forget what was set for this checkpoint')}`,
      choose: async () => {
        await setGiven(checkpoint, 'set', null);
        await setGiven(checkpoint, 'states', null);
      },
    },
  ];
  const placeHolder = vscode.l10n.t('What the graph alone does not say');
  await (await vscode.window.showQuickPick(items, { title, placeHolder }))?.choose?.();
}

function problemWith(answer: string): string | undefined {
  return /^[^=]+=[^=]+$/.test(answer.trim()) ? undefined : vscode.l10n.t('It must be NAME=VALUE');
}
