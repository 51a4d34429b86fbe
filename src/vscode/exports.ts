import * as vscode from 'vscode';
import type { Verification } from '../report/verification.js';
import type { AnalysisWorker, OnProgress } from './analysisWorker.js';
import { baseName, WorkspaceFiles } from './checkpointFiles.js';
import { asSentence, isCancellation, namingFile } from './errorReporting.js';
import { checkOptions } from './settings.js';
import { writeBeside } from './writeFile.js';

export type ExportState =
  | { kind: 'running'; length: number; step: string; fraction: number }
  | { kind: 'done'; target: vscode.Uri; verification: Verification }
  | { kind: 'failed'; message: string };

/** Exports truncated models and remembers each checkpoint's last export, which its report page shows. */
export class Exports implements vscode.Disposable {
  readonly #states = new Map<string, ExportState>();
  readonly #changed = new vscode.EventEmitter<vscode.Uri>();
  readonly onDidChange = this.#changed.event;
  readonly #aborts = new Map<string, AbortController>();

  constructor(private readonly worker: AnalysisWorker) {}

  state(uri: vscode.Uri): ExportState | undefined {
    return this.#states.get(uri.toString());
  }

  /** Writes the truncated model beside its source. undefined: the user chose no place for it. */
  async export(
    uri: vscode.Uri,
    length: number,
    update: OnProgress,
    signal: AbortSignal,
  ): Promise<(ExportState & { kind: 'done' }) | undefined> {
    const key = uri.toString();
    this.cancel(uri);
    const abort = new AbortController();
    this.#aborts.set(key, abort);
    const onProgress: OnProgress = (step, fraction) => {
      update(step, fraction);
      this.#set(uri, { kind: 'running', length, step, fraction });
    };
    onProgress(vscode.l10n.t('Reading the checkpoint'), 0);
    try {
      const options = { ...checkOptions(uri), length };
      const both = AbortSignal.any([signal, abort.signal]);
      const { model, verification } = await this.worker.export(new WorkspaceFiles(uri), options, onProgress, both);
      const stem = baseName(uri).replace(/\.(onnx|json)$/i, '');
      const target = await writeBeside(uri, `${stem}.truncated-${verification.length}`, '.onnx', model);
      const done = target && { kind: 'done' as const, target, verification };
      this.#set(uri, done);
      return done;
    } catch (error) {
      const message = asSentence(error instanceof Error ? error.message : String(error));
      this.#set(uri, isCancellation(error) ? undefined : { kind: 'failed', message });
      throw namingFile(error, baseName(uri));
    } finally {
      if (this.#aborts.get(key) === abort) this.#aborts.delete(key);
    }
  }

  cancel(uri: vscode.Uri): void {
    this.#aborts.get(uri.toString())?.abort();
  }

  dispose(): void {
    this.#changed.dispose();
  }

  #set(uri: vscode.Uri, state: ExportState | undefined): void {
    if (state) this.#states.set(uri.toString(), state);
    else this.#states.delete(uri.toString());
    this.#changed.fire(uri);
  }
}
