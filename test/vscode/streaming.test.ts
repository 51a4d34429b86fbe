import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Random } from '../support/random.js';
import { streamingStyles } from '../support/streamingModels.js';
import { TestGraph } from '../support/testGraph.js';
import { Workbench } from './workbench.js';

/** A streaming model whose branch depends on a sample rate: the rate is asked for, the report follows the answer. */
const vsix = resolve('rnn-stability.vsix');
const workspace = mkdtempSync(join(tmpdir(), 'rnn-stability-streaming-'));
const waiting = { timeout: 90_000, interval: 250 };

describe('a streaming model in VS Code', () => {
  let workbench: Workbench;

  beforeAll(async () => {
    const graph = new TestGraph(17, new Random(3));
    streamingStyles.find(({ set }) => set?.['sr'])!.build(graph);
    writeFileSync(join(workspace, 'stream.onnx'), graph.bytes());
    workbench = await Workbench.launch({ vsix, workspace, name: 'streaming' });
  });

  afterAll(async () => {
    await workbench?.close();
    rmSync(workspace, { recursive: true, force: true });
  });

  it('is checked once the sample rate was chosen from what the model compares it with', async () => {
    await workbench.runCommand('RNN Stability: Check RNN stability');
    await workbench.quickPick('stream.onnx');
    const failed = await workbench.webview('h1', waiting.timeout);
    await expect.poll(() => failed.locator('body').innerText(), waiting).toMatch(/sr/);
    await workbench.screenshot('streaming-question');
    // The open report says which checkpoint is meant.
    await workbench.runCommand('RNN Stability: Set inputs and states of a streaming model');
    await workbench.quickPick('sr=16000');
    const written = () => {
      const folder = join(workspace, '.vscode');
      return existsSync(folder)
        ? readdirSync(folder)
            .map((file) => readFileSync(join(folder, file), 'utf8'))
            .join('')
        : '';
    };
    await expect.poll(written, waiting).toMatch(/"stream\.onnx"[^}]*"sr": "16000"/);
    const page = await workbench.webview('section.verdict', waiting.timeout);
    // The branch is decided now, not assumed.
    await expect.poll(() => page.locator('body').innerText(), waiting).not.toMatch(/assumed[^.]*sr|sr[^.]*assumed/);
    expect(await page.locator('body').innerText()).toMatch(/state_out/);
    await workbench.screenshot('streaming-report');
  });
});
