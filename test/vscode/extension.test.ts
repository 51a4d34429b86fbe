import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readOnnx } from '../../src/checkpoint/onnx/reader.js';
import { readModel } from '../../src/checkpoint/onnx/model.js';
import { compareWithOriginal } from '../../src/truncation/verify.js';
import { truncateToWindow } from '../../src/truncation/window.js';
import { readModelInputs } from '../../src/samples/modelInputs.js';
import { readSamples } from '../../src/samples/formats.js';
import { sampleBatches } from '../../src/samples/sampleBatches.js';
import { runtime } from '../support/runtime.js';
import { Workbench } from './workbench.js';

/**
 * The main job in a real VS Code, with the packaged extension as users install it: check from the palette, Problems entry,
 * report page, export with one click, and the exported file run in ONNX Runtime. `npm test` packages the extension first.
 */
const vsix = resolve('rnn-stability.vsix');
const workspace = mkdtempSync(join(tmpdir(), 'rnn-stability-workspace-'));
const waiting = { timeout: 90_000, interval: 250 };

describe('RNN Stability in VS Code', () => {
  let workbench: Workbench;

  beforeAll(async () => {
    for (const name of ['oscillator-rnn', 'text-lstm', 'modem-gru']) {
      cpSync(`examples/${name}.onnx`, join(workspace, `${name}.onnx`));
      cpSync(`examples/${name}.samples.npz`, join(workspace, `${name}.samples.npz`));
    }
    writeFileSync(join(workspace, 'pointer.onnx'), 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n');
    workbench = await Workbench.launch({ vsix, workspace, name: 'extension' });
  });

  afterAll(async () => {
    await workbench?.close();
    rmSync(workspace, { recursive: true, force: true });
  });

  it('is a small package', () => {
    const size = statSync(vsix).size;
    console.log(`rnn-stability.vsix: ${(size / 1e6).toFixed(2)} MB`);
    expect(size).toBeLessThan(10e6);
  });

  it('checks a checkpoint from the palette and shows the report page', async () => {
    await workbench.runCommand('RNN Stability: Check RNN stability');
    await workbench.quickPick('oscillator-rnn.onnx');
    const page = await workbench.webview('section.verdict', waiting.timeout);
    await expect.poll(() => page.locator('section.verdict').textContent(), waiting).toMatch(/Certified stable/);
    expect(await page.locator('h1').textContent()).toContain('oscillator-rnn.onnx');
    expect(await page.locator('svg').count()).toBeGreaterThan(0);
  });

  it('has the report in every theme', async () => {
    for (const theme of ['dark', 'hc-dark', 'hc-light', 'light'] as const) {
      await workbench.setTheme(theme);
      await workbench.screenshot(`report-${theme}`);
    }
  });

  it('lists the verdict in Problems', async () => {
    await expect.poll(async () => (await workbench.openProblems()).join('\n'), waiting).toMatch(/Certified stable[\s\S]*stable/);
    await workbench.screenshot('problems');
  });

  it('exports with one click, and the file agrees with the original in ONNX Runtime', async () => {
    const page = await workbench.webview('section.verdict');
    await page.getByRole('button', { name: 'Export truncated feedforward ONNX' }).click();
    await expect.poll(() => page.locator('.verification').count(), waiting).toBe(1);
    expect(await page.locator('.verification.passed').count()).toBe(1);
    await workbench.screenshot('exported');

    const name = readdirSync(workspace).find((file) => /^oscillator-rnn\.truncated-\d+\.onnx$/.test(file));
    expect(name).toBeDefined();
    const written = readModel(readFileSync(join(workspace, name!)));
    expect(written.graph.node.filter((n) => ['RNN', 'LSTM', 'GRU', 'Loop', 'Scan', 'If'].includes(n.opType))).toEqual([]);
    const original = readOnnx(readFileSync(join(workspace, 'oscillator-rnn.onnx')), new Map());
    const k = Number(/truncated-(\d+)/.exec(name!)![1]);
    const axes = readModelInputs(original);
    const bytes = readFileSync(join(workspace, 'oscillator-rnn.samples.npz'));
    const samples = sampleBatches(axes, readSamples([{ name: 'samples', bytes }]), 'samples')[0]!;
    const compared = await compareWithOriginal(
      original,
      axes,
      { ...truncateToWindow(original, k, null), model: written },
      samples,
      runtime,
    );
    expect(compared.windows).toBeGreaterThan(100);
    expect(compared.recurrent).toBeLessThanOrEqual(1e-3);
    expect(compared.exact).toBeLessThanOrEqual(compared.rounding);
  });

  it('offers the export as the preferred quick fix where VS Code holds the checkpoint as text', async () => {
    // A binary file has no light bulb in Problems; opened as text it has one.
    await workbench.openFile('modem-gru.onnx');
    await workbench.page.getByText('Open Anyway').click();
    await workbench.quickPick('Text Editor');
    await workbench.runCommand('RNN Stability: Check RNN stability');
    await workbench.webview(async (frame) => (await frame.locator('h1').textContent()) === 'modem-gru.onnx', waiting.timeout);
    await expect
      .poll(async () => (await workbench.openProblems()).join('\n'), waiting)
      .toMatch(/on your samples the last \d+ steps/);
    const row = 'on your samples the last';
    const titles = await workbench.quickFix(row);
    const title = titles.find((t) => /^Export truncated feedforward ONNX \(k = \d+\)$/.test(t));
    expect(titles).toContain('Open the RNN stability report');
    expect(title).toBeDefined();
    await workbench.applyQuickFix(row, title!);
    await expect.poll(() => readdirSync(workspace).some((file) => file.startsWith('modem-gru.truncated-')), waiting).toBe(true);
  });

  it('opens the report from a row below the finding', async () => {
    await workbench.runCommand('View: Close All Editors');
    await workbench.openProblems();
    await workbench.page.locator('.markers-panel').getByText('Open the RNN stability report').first().click();
    const page = await workbench.webview('section.verdict', waiting.timeout);
    expect(await page.locator('h1').textContent()).toMatch(/\.onnx$/);
  });

  it('never writes over an earlier export', async () => {
    await workbench.openFile('oscillator-rnn.onnx');
    await workbench.runCommand('RNN Stability: Check RNN stability');
    const page = await workbench.webview(
      async (frame) => (await frame.locator('h1').textContent()) === 'oscillator-rnn.onnx',
      waiting.timeout,
    );
    const count = () => readdirSync(workspace).filter((file) => file.includes('truncated')).length;
    const before = count();
    await page.getByRole('button', { name: 'Export truncated feedforward ONNX' }).click();
    await expect.poll(count, waiting).toBe(before + 1);
  });

  it('checks the whole workspace; a bad file is one error of its own', async () => {
    await workbench.runCommand('RNN Stability: Check all RNN checkpoints in workspace');
    await expect
      .poll(async () => (await workbench.openProblems()).join('\n'), { ...waiting, timeout: 150_000 })
      .toMatch(/Git LFS pointer/);
    await expect
      .poll(async () => (await workbench.openProblems()).join('\n'), waiting)
      .toMatch(/on your samples the last \d+ steps/);
  });

  it('clears the findings of a deleted checkpoint', async () => {
    rmSync(join(workspace, 'pointer.onnx'));
    await expect.poll(async () => (await workbench.openProblems()).join('\n'), waiting).not.toMatch(/Git LFS pointer/);
  });

  // Below 50 ms on an idle machine. A busy one takes a few times that; loading the analysis or ONNX Runtime would take far longer.
  it('activates without loading what it does not need yet', async () => {
    const time = await workbench.activationTime('rnn-stability.rnn-stability');
    console.log(`activation: ${time} ms`);
    expect(time).toBeLessThan(250);
  });

  it('violates no content security policy and throws nothing', () => {
    expect(workbench.consoleMessages.filter((m) => m.kind === 'csp')).toEqual([]);
    expect(workbench.consoleMessages.filter((m) => m.kind === 'exception')).toEqual([]);
    expect(existsSync(join(workspace, 'oscillator-rnn.onnx'))).toBe(true);
  });
});
