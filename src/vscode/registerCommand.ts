import * as vscode from 'vscode';
import type { CommandId, Commands } from './commands.js';
import { reportError } from './errorReporting.js';

/** Registers a typed command. Whatever it throws is told to the user here, in one place. */
export function registerCommand<Id extends CommandId>(
  id: Id,
  handler: Commands[Id],
  log: vscode.LogOutputChannel,
): vscode.Disposable {
  const run = handler as (...args: unknown[]) => Promise<unknown>;
  return vscode.commands.registerCommand(id, async (...args: unknown[]) => {
    log.debug(id);
    try {
      return await run(...args);
    } catch (error) {
      reportError(error, log);
      return undefined;
    }
  });
}
