import type * as vscode from 'vscode';
import type { StabilityReport } from '../report/report.js';

/**
 * Every command of the extension with its arguments and result. All arguments may be missing: the palette passes none, a
 * menu passes the clicked resource and the whole selection, the report page and the quick fix pass a resource and a length.
 */
export interface Commands {
  'rnnStability.check': (resource?: vscode.Uri, selection?: readonly vscode.Uri[]) => Promise<StabilityReport | undefined>;
  'rnnStability.exportFeedforward': (
    resource?: vscode.Uri,
    length?: number | readonly vscode.Uri[],
  ) => Promise<vscode.Uri | undefined>;
  'rnnStability.checkWorkspace': () => Promise<void>;
  'rnnStability.chooseSamples': (resource?: vscode.Uri) => Promise<void>;
  'rnnStability.chooseInputs': (resource?: vscode.Uri) => Promise<void>;
  'rnnStability.useSampleRange': (resource?: vscode.Uri) => Promise<void>;
}

export type CommandId = keyof Commands;

/** A command bound to its arguments, for code actions. */
export function boundCommand<Id extends CommandId>(id: Id, title: string, ...args: Parameters<Commands[Id]>): vscode.Command {
  return { command: id, title, arguments: args };
}
