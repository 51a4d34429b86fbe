import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { BadInputError, CancelledError } from '../../src/errors.js';
import { defaultCheckOptions } from '../../src/jobs/jobs.js';
import { AnalysisWorker, type JobFiles } from '../../src/vscode/analysisWorker.js';

/** The host's side of the worker protocol, against small workers that behave well and badly. */

const folder = mkdtempSync(join(tmpdir(), 'rnn-stability-worker-'));
const files: JobFiles = {
  name: 'net.onnx',
  samples: null,
  read: () => Promise.resolve(new Uint8Array([1, 2, 3])),
  list: () => Promise.resolve(null),
};
let scripts = 0;
let worker: AnalysisWorker | undefined;

function start(body: string): AnalysisWorker {
  const script = join(folder, `${++scripts}.mjs`);
  writeFileSync(
    script,
    `import { parentPort } from 'node:worker_threads'; const send = (m) => parentPort.postMessage(m); parentPort.on('message', (m) => { ${body} });`,
  );
  worker = new AnalysisWorker(script);
  return worker;
}

const check = (from: AnalysisWorker, own: Partial<JobFiles> = {}, signal = new AbortController().signal) =>
  from.check({ ...files, ...own }, defaultCheckOptions, () => {}, signal);

afterEach(() => worker?.dispose());
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the analysis worker', () => {
  it('passes progress, files and the result', async () => {
    const steps: string[] = [];
    const from = start(`
      if (m.type === 'check') { send({ type: 'progress', job: m.job, step: 'Reading', fraction: 0.5 }); send({ type: 'read', job: m.job, request: 9, what: 'checkpoint', path: '' }); globalThis.job = m.job; }
      if (m.type === 'file') send({ type: 'checked', job: globalThis.job, report: [...m.bytes, m.request] });
    `);
    const report = await from.check(files, defaultCheckOptions, (step) => steps.push(step), new AbortController().signal);
    expect(report).toEqual([1, 2, 3, 9]);
    expect(steps).toEqual(['Reading']);
  });

  it('hands over a view of a larger buffer alone, and leaves the buffer usable', async () => {
    const pool = new Uint8Array(64).fill(7);
    const read = () => Promise.resolve(pool.subarray(8, 10));
    const from = start(`
      if (m.type === 'check') { globalThis.job = m.job; send({ type: 'read', job: m.job, request: 1, what: 'checkpoint', path: '' }); }
      if (m.type === 'file') send({ type: 'checked', job: globalThis.job, report: m.bytes.buffer.byteLength });
    `);
    expect(await check(from, { read })).toBe(2);
    expect(pool.length).toBe(64);
  });

  it('tells the worker why a file cannot be read', async () => {
    const read = () => Promise.reject(new BadInputError('unreadable-file', 'no such place'));
    const from = start(`
      if (m.type === 'check') { globalThis.job = m.job; send({ type: 'read', job: m.job, request: 1, what: 'sibling', path: '../x' }); }
      if (m.type === 'file') send({ type: 'failed', job: globalThis.job, error: { kind: 'bad-input', code: 'unreadable-file', message: m.error } });
    `);
    await expect(check(from, { read })).rejects.toMatchObject({
      name: 'BadInputError',
      code: 'unreadable-file',
      message: 'no such place',
    });
  });

  it('rejects the jobs of a worker that crashes, and starts another one', async () => {
    const from = start(`
      if (m.type === 'check' && m.job === 1) throw new Error('out of luck');
      if (m.type === 'check') send({ type: 'checked', job: m.job, report: 'fine' });
    `);
    await expect(check(from)).rejects.toThrow(/stopped unexpectedly: out of luck/);
    expect(await check(from)).toBe('fine');
  });

  it('rejects the jobs of a worker that exits', async () => {
    await expect(check(start(`process.exit(3)`))).rejects.toThrow(/exit code 3/);
  });

  it('frees the caller of a cancelled job at once', async () => {
    const abort = new AbortController();
    const job = check(start(''), {}, abort.signal);
    abort.abort();
    await expect(job).rejects.toBeInstanceOf(CancelledError);
  });

  it('does not start a job that was cancelled before', async () => {
    await expect(check(start(`throw new Error('started')`), {}, AbortSignal.abort())).rejects.toBeInstanceOf(CancelledError);
  });

  it('ends a worker that ignores a cancel, and runs what waits behind it', async () => {
    const from = start(`
      if (m.type === 'check' && m.job === 1) { const end = Date.now() + 20_000; while (Date.now() < end); }
      if (m.type === 'check') send({ type: 'checked', job: m.job, report: m.job });
    `);
    const abort = new AbortController();
    const stuck = check(from, {}, abort.signal);
    await new Promise((resolve) => setTimeout(resolve, 300));
    abort.abort();
    await expect(stuck).rejects.toBeInstanceOf(CancelledError);
    expect(await check(from)).toBe(2);
  });
});
