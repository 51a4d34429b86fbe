import * as vscode from 'vscode';
import type { Place } from '../checkpoint/place.js';
import { BadInputError, type Question } from '../errors.js';
import type { StabilityReport } from '../report/report.js';
import type { AnalysisWorker } from './analysisWorker.js';
import { fingerprint, statOf, WorkspaceFiles } from './checkpointFiles.js';
import { asSentence, isCancellation, namingFile } from './errorReporting.js';
import { affectsReport, checkOptions } from './settings.js';

/** What is known of one checkpoint. A cancelled check goes back to what was known before. */
export type CheckState =
  | { kind: 'unchecked' }
  | { kind: 'running'; step: string; fraction: number }
  | { kind: 'checked'; report: StabilityReport }
  | { kind: 'failed'; code: string; message: string; place?: Place; question?: Question };

interface Entry {
  uri: vscode.Uri;
  state: CheckState;
  /** The last finished state, its inputs and their fingerprint. */
  finished: CheckState;
  inputs: vscode.Uri[];
  fingerprint: string;
  running: Promise<StabilityReport> | undefined;
  abort: AbortController;
  watcher: vscode.FileSystemWatcher;
}

/** Writers touch a file several times; wait until it rests. */
const settleMilliseconds = 700;

/** Owns the one analysis per checkpoint that commands, diagnostics and report pages share, cached until an input changes. */
export class Reports implements vscode.Disposable {
  readonly #entries = new Map<string, Entry>();
  readonly #settling = new Map<string, NodeJS.Timeout>();
  readonly #changed = new vscode.EventEmitter<vscode.Uri>();
  readonly #stale = new vscode.EventEmitter<vscode.Uri>();
  readonly #deleted = new vscode.EventEmitter<vscode.Uri>();
  /** The state of a checkpoint changed. */
  readonly onDidChange = this.#changed.event;
  /** A file or setting that a finished check used has changed. */
  readonly onDidBecomeStale = this.#stale.event;
  readonly onDidDelete = this.#deleted.event;
  readonly #settings: vscode.Disposable;

  constructor(
    private readonly worker: AnalysisWorker,
    private readonly log: vscode.LogOutputChannel,
  ) {
    this.#settings = vscode.workspace.onDidChangeConfiguration((change) => {
      for (const { uri } of this.#entries.values()) if (affectsReport(change, uri)) this.#settle(uri);
    });
  }

  state(uri: vscode.Uri): CheckState {
    return this.#entries.get(uri.toString())?.state ?? { kind: 'unchecked' };
  }

  report(uri: vscode.Uri): StabilityReport | undefined {
    const finished = this.#entries.get(uri.toString())?.finished;
    return finished?.kind === 'checked' ? finished.report : undefined;
  }

  /** The report of a checkpoint: the known one while its inputs are the same (unless `again`), the running check's, or a new one. */
  check(uri: vscode.Uri, { again = false } = {}): Promise<StabilityReport> {
    const entry = this.#entry(uri);
    if (entry.running === undefined) {
      entry.abort = new AbortController();
      entry.running = this.#run(entry, again).finally(() => (entry.running = undefined));
    }
    return entry.running;
  }

  cancel(uri: vscode.Uri): void {
    this.#entries.get(uri.toString())?.abort.abort();
  }

  dispose(): void {
    for (const timer of this.#settling.values()) clearTimeout(timer);
    for (const entry of this.#entries.values()) entry.watcher.dispose();
    vscode.Disposable.from(this.#settings, this.#changed, this.#stale, this.#deleted).dispose();
  }

  async #run(entry: Entry, again: boolean): Promise<StabilityReport> {
    const { uri } = entry;
    const options = checkOptions(uri);
    const files = new WorkspaceFiles(uri);
    const inputsNow = async (inputs: vscode.Uri[]) => `${JSON.stringify([options, files.samples])}\n${await fingerprint(inputs)}`;
    if (!again && entry.finished.kind === 'checked' && entry.fingerprint === (await inputsNow(entry.inputs))) {
      return entry.finished.report;
    }
    const started = Date.now();
    const before = await inputsNow([uri]);
    this.#set(entry, { kind: 'running', step: vscode.l10n.t('Reading the checkpoint'), fraction: 0 });
    try {
      const onProgress = (step: string, fraction: number) => this.#set(entry, { kind: 'running', step, fraction });
      const report = await this.worker.check(files, options, onProgress, entry.abort.signal);
      entry.inputs = [...files.seen.values()];
      entry.fingerprint = await inputsNow(entry.inputs);
      entry.finished = { kind: 'checked', report };
      this.log.info(`${uri.fsPath}: ${report.verdict}, ${Date.now() - started} ms`);
      // The file may have been written while it was read.
      if ((await inputsNow([uri])) !== before) this.#settle(uri);
      return report;
    } catch (error) {
      if (!isCancellation(error)) entry.finished = this.#failure(uri, error);
      throw namingFile(error, files.name);
    } finally {
      this.#set(entry, entry.finished);
    }
  }

  #failure(uri: vscode.Uri, error: unknown): CheckState {
    if (error instanceof BadInputError) {
      this.log.warn(`${uri.fsPath}: ${error.message} [${error.code}]`);
      const { code, place, question } = error;
      const more = { ...(place ? { place } : {}), ...(question ? { question } : {}) };
      return { kind: 'failed', code, message: asSentence(error.message), ...more };
    }
    this.log.error(error instanceof Error ? error : String(error));
    return { kind: 'failed', code: 'internal-error', message: error instanceof Error ? error.message : String(error) };
  }

  #set(entry: Entry, state: CheckState): void {
    // A file deleted during its check has no entry any more.
    if (this.#entries.get(entry.uri.toString()) !== entry) return;
    entry.state = state;
    this.#changed.fire(entry.uri);
  }

  #entry(uri: vscode.Uri): Entry {
    const key = uri.toString();
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      const unchecked: CheckState = { kind: 'unchecked' };
      const abort = new AbortController();
      const watcher = this.#watch(uri);
      entry = { uri, state: unchecked, finished: unchecked, inputs: [uri], fingerprint: '', running: undefined, abort, watcher };
      this.#entries.set(key, entry);
    }
    return entry;
  }

  /** Watches the checkpoint's folder, in the workspace or not: samples and external data lie beside it. */
  #watch(uri: vscode.Uri): vscode.FileSystemWatcher {
    const pattern = new vscode.RelativePattern(vscode.Uri.joinPath(uri, '..'), '*');
    const watcher = vscode.workspace.createFileSystemWatcher(pattern);
    const touched = (file: vscode.Uri) => {
      const inputs = this.#entries.get(uri.toString())?.inputs ?? [];
      if (inputs.some((input) => input.toString() === file.toString())) this.#settle(uri);
    };
    watcher.onDidChange(touched);
    watcher.onDidCreate(touched);
    watcher.onDidDelete(touched);
    return watcher;
  }

  #settle(uri: vscode.Uri): void {
    const key = uri.toString();
    clearTimeout(this.#settling.get(key));
    const settled = async () => {
      this.#settling.delete(key);
      const entry = this.#entries.get(key);
      if (entry === undefined) return;
      // Writers that replace a file delete it first, so ask the file system rather than the event.
      if ((await statOf(uri)) === undefined) this.#forget(entry);
      else if (entry.finished.kind !== 'unchecked') this.#stale.fire(uri);
    };
    this.#settling.set(
      key,
      setTimeout(() => void settled(), settleMilliseconds),
    );
  }

  #forget(entry: Entry): void {
    this.#entries.delete(entry.uri.toString());
    entry.abort.abort();
    entry.watcher.dispose();
    this.#deleted.fire(entry.uri);
  }
}
