import { readFile } from 'node:fs/promises';
import { parentPort } from 'node:worker_threads';
import { BadInputError, CancelledError } from './errors.js';
import { check } from './jobs/check.js';
import { exportTruncated } from './jobs/export.js';
import type { CheckpointFiles, Progress } from './jobs/jobs.js';
import { createRuntime } from './runtime/onnxRuntime.js';
import type { FileRole, FromWorker, SerializedError, ToWorker } from './runtime/protocol.js';

/** The worker thread of the extension: runs jobs one after the other and asks the extension host for files. */

type JobMessage = Extract<ToWorker, { type: 'check' | 'export' }>;

if (parentPort === null) throw new Error('worker.js runs as a worker thread only');
const port = parentPort;
const runtime = createRuntime(() => readFile(new URL('./ort-wasm-simd-threaded.wasm', import.meta.url)));
const cancelled = new Set<number>();
type Answer = Extract<ToWorker, { type: 'file' | 'names' }>;
const requests = new Map<number, (answer: Answer) => void>();
let lastRequest = 0;
let queue = Promise.resolve();

port.on('message', (message: ToWorker) => {
  switch (message.type) {
    case 'check':
    case 'export':
      queue = queue.then(() => run(message));
      break;
    case 'cancel':
      cancelled.add(message.job);
      break;
    case 'file':
    case 'names':
      requests.get(message.request)?.(message);
      requests.delete(message.request);
      break;
  }
});

async function run(message: JobMessage): Promise<void> {
  const { job } = message;
  try {
    if (cancelled.has(job)) throw new CancelledError();
    const files = checkpointFiles(message);
    const progress = progressOf(job);
    if (message.type === 'check') {
      send({ type: 'checked', job, report: await check(files, message.options, runtime, progress) });
    } else {
      const result = await exportTruncated(files, message.options, runtime, progress);
      send({ type: 'exported', job, result });
    }
  } catch (error) {
    send({ type: 'failed', job, error: serialize(error) });
  }
  cancelled.delete(job);
}

/** Progress gives way to the event loop, so that a cancel can arrive, and tells the host no more than it can show. */
function progressOf(job: number): Progress {
  let lastStep = '';
  let lastTime = 0;
  return async (step, fraction) => {
    const now = performance.now();
    if (step !== lastStep || now - lastTime > 50) {
      send({ type: 'progress', job, step, fraction });
      lastStep = step;
      lastTime = now;
      await new Promise((resolve) => setImmediate(resolve));
    }
    if (cancelled.has(job)) throw new CancelledError();
  };
}

function checkpointFiles({ job, file, samples }: JobMessage): CheckpointFiles {
  const ask = (type: 'read' | 'list', what: FileRole, path: string): Promise<Answer> => {
    const request = ++lastRequest;
    const answer = new Promise<Answer>((resolve) => requests.set(request, resolve));
    send({ type, job, request, what, path });
    return answer;
  };
  const read = async (what: FileRole, path: string): Promise<Uint8Array | undefined> => {
    const { bytes, error } = (await ask('read', what, path)) as Extract<Answer, { type: 'file' }>;
    if (error !== null) throw new BadInputError('unreadable-file', error);
    return bytes ?? undefined;
  };
  const list = async (what: FileRole, path: string): Promise<readonly string[] | undefined> =>
    ((await ask('list', what, path)) as Extract<Answer, { type: 'names' }>).names ?? undefined;
  const required = async (what: 'checkpoint' | 'samples', name: string, path = ''): Promise<Uint8Array> => {
    const bytes = await read(what, path);
    if (bytes === undefined) throw new BadInputError('unreadable-file', `${name} does not exist.`);
    return bytes;
  };
  return {
    name: file,
    read: () => required('checkpoint', file),
    readSibling: (path) => read('sibling', path),
    listSibling: (path) => list('sibling', path),
    ...(samples === null
      ? {}
      : {
          samples: {
            name: samples,
            list: () => list('samples', ''),
            read: (entry = '') => required('samples', samples, entry),
          },
        }),
  };
}

function send(message: FromWorker): void {
  port.postMessage(message);
}

function serialize(error: unknown): SerializedError {
  if (error instanceof CancelledError) return { kind: 'cancelled', message: error.message, code: '' };
  if (error instanceof BadInputError) {
    const { message, code, place, question } = error;
    return { kind: 'bad-input', message, code, ...(place ? { place } : {}), ...(question ? { question } : {}) };
  }
  return { kind: 'internal', message: error instanceof Error ? error.message : String(error), code: 'internal-error' };
}
