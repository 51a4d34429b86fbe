import { Worker } from 'node:worker_threads';
import { BadInputError, CancelledError } from '../errors.js';
import type { CheckOptions, ExportOptions, ExportResult } from '../jobs/jobs.js';
import type { StabilityReport } from '../report/report.js';
import type { FileRole, FromWorker, SerializedError, ToWorker } from '../runtime/protocol.js';

/** The files of one job. The worker has no file access of its own: it asks, and this answers. */
export interface JobFiles {
  readonly name: string;
  readonly samples: string | null;
  /** null: there is no such sibling. */
  read(what: FileRole, path: string): Promise<Uint8Array | null>;
  /** Names of the files in a folder; null: it is no folder. */
  list(what: FileRole, path: string): Promise<readonly string[] | null>;
}

export type OnProgress = (step: string, fraction: number) => void;

interface Job {
  start: ToWorker;
  files: JobFiles;
  onProgress: OnProgress;
  resolve(result: StabilityReport | ExportResult): void;
  reject(error: Error): void;
}

/** An idle worker is ended after this time: WebAssembly memory grows with the model and never shrinks. */
const idleMilliseconds = 60_000;
/** A worker that does not answer a cancel, because one step runs long, is ended after this time. */
const cancelMilliseconds = 3_000;

/** One worker thread for all jobs, started on demand and again after a crash. It runs them one after the other. */
export class AnalysisWorker {
  #worker: Worker | undefined;
  #lastJob = 0;
  readonly #jobs = new Map<number, Job>();
  /** Cancelled jobs that the worker has not confirmed yet. */
  readonly #cancelled = new Set<number>();
  #idle: NodeJS.Timeout | undefined;

  constructor(
    private readonly script: string,
    private readonly onTrouble: (text: string) => void = () => {},
  ) {}

  check(files: JobFiles, options: CheckOptions, onProgress: OnProgress, signal: AbortSignal): Promise<StabilityReport> {
    const start: ToWorker = { type: 'check', job: ++this.#lastJob, file: files.name, samples: files.samples, options };
    return this.#run(start.job, { start, files, onProgress }, signal) as Promise<StabilityReport>;
  }

  export(files: JobFiles, options: ExportOptions, onProgress: OnProgress, signal: AbortSignal): Promise<ExportResult> {
    const start: ToWorker = { type: 'export', job: ++this.#lastJob, file: files.name, samples: files.samples, options };
    return this.#run(start.job, { start, files, onProgress }, signal) as Promise<ExportResult>;
  }

  dispose(): void {
    this.#stop(new CancelledError());
  }

  #run(id: number, job: Omit<Job, 'resolve' | 'reject'>, signal: AbortSignal): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(new CancelledError());
      const cancel = () => this.#cancel(id);
      signal.addEventListener('abort', cancel, { once: true });
      const done = () => signal.removeEventListener('abort', cancel);
      this.#jobs.set(id, {
        ...job,
        resolve: (result) => (done(), resolve(result)),
        reject: (error) => (done(), reject(error)),
      });
      this.#send(job.start);
    });
  }

  #send(message: ToWorker, transfer: ArrayBuffer[] = []): void {
    clearTimeout(this.#idle);
    this.#worker ??= this.#start();
    this.#worker.postMessage(message, transfer);
  }

  #start(): Worker {
    const worker = new Worker(this.script);
    const crashed = (error: Error) => {
      if (worker === this.#worker) this.#stop(error);
    };
    worker.on('message', (message: FromWorker) => void this.#receive(worker, message));
    worker.on('error', (error) => {
      this.onTrouble(error instanceof Error ? (error.stack ?? error.message) : String(error));
      crashed(crashError(error));
    });
    worker.on('exit', (code) =>
      crashed(new Error(`The analysis stopped unexpectedly (exit code ${code}). Run the command again.`)),
    );
    return worker;
  }

  async #receive(worker: Worker, message: FromWorker): Promise<void> {
    if (worker !== this.#worker) return;
    const job = this.#jobs.get(message.job);
    switch (message.type) {
      case 'progress':
        return job?.onProgress(message.step, message.fraction);
      case 'read':
        return this.#answerRead(worker, job, message);
      case 'list': {
        const names = (await job?.files.list(message.what, message.path).catch(() => null)) ?? null;
        if (worker === this.#worker) this.#send({ type: 'names', request: message.request, names });
        return;
      }
      case 'checked':
        job?.resolve(message.report);
        break;
      case 'exported':
        job?.resolve(message.result);
        break;
      case 'failed':
        if (message.error.kind === 'internal' && job) this.onTrouble(message.error.message);
        job?.reject(revive(message.error));
        break;
    }
    this.#jobs.delete(message.job);
    this.#cancelled.delete(message.job);
    this.#endWhenIdle();
  }

  async #answerRead(worker: Worker, job: Job | undefined, message: Extract<FromWorker, { type: 'read' }>): Promise<void> {
    const answer: Extract<ToWorker, { type: 'file' }> = { type: 'file', request: message.request, bytes: null, error: null };
    try {
      // A cancelled job waits for its answer too, and would hold up the others.
      if (job === undefined) throw new CancelledError();
      const bytes = await job.files.read(message.what, message.path);
      // A view into a pooled buffer cannot be handed over, and cloning it would clone the whole pool.
      answer.bytes = bytes && (bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice());
    } catch (error) {
      answer.error = error instanceof Error ? error.message : String(error);
    }
    if (worker === this.#worker) this.#send(answer, answer.bytes ? [answer.bytes.buffer as ArrayBuffer] : []);
  }

  /** The caller is free at once; the worker stops at its next step, or is ended if that takes too long. */
  #cancel(id: number): void {
    this.#jobs.get(id)?.reject(new CancelledError());
    this.#jobs.delete(id);
    this.#cancelled.add(id);
    this.#send({ type: 'cancel', job: id });
    setTimeout(() => {
      if (this.#cancelled.has(id)) this.#restart();
    }, cancelMilliseconds).unref();
  }

  /** Ends the worker and gives the jobs, none of which it had begun, to a fresh one. */
  #restart(): void {
    this.#cancelled.clear();
    void this.#worker?.terminate();
    this.#worker = undefined;
    for (const job of this.#jobs.values()) this.#send(job.start);
  }

  #endWhenIdle(): void {
    if (this.#jobs.size > 0) return;
    this.#idle = setTimeout(() => this.#stop(new CancelledError()), idleMilliseconds).unref();
  }

  #stop(reason: Error): void {
    clearTimeout(this.#idle);
    const jobs = [...this.#jobs.values()];
    this.#jobs.clear();
    this.#restart();
    for (const job of jobs) job.reject(reason);
  }
}

function crashError(error: unknown): Error {
  const outOfMemory = error instanceof Error && 'code' in error && error.code === 'ERR_WORKER_OUT_OF_MEMORY';
  if (outOfMemory) return new BadInputError('too-large', 'The analysis ran out of memory. Set a smaller rnnStability.maxLength.');
  return new Error(
    `The analysis stopped unexpectedly: ${error instanceof Error ? error.message : String(error)}. Run the command again.`,
  );
}

function revive(error: SerializedError): Error {
  if (error.kind === 'cancelled') return new CancelledError();
  const { kind, code, message, place, question } = error;
  return kind === 'bad-input' ? new BadInputError(code, message, place, question) : new Error(message);
}
