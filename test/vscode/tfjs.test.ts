import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readModel } from '../../src/checkpoint/onnx/model.js';
import { Workbench } from './workbench.js';

/** model.json in a real VS Code: code lenses, findings at the layer's object, the export as a quick fix, and other tools' files of that name. */
const vsix = resolve('rnn-stability.vsix');
const workspace = mkdtempSync(join(tmpdir(), 'rnn-stability-tfjs-'));
const waiting = { timeout: 90_000, interval: 250 };
const example = readFileSync('examples/oscillator-rnn-tfjs/model.json', 'utf8');
/** Line on which the object of a layer begins; TF.js writes the layer's name between that and the class. */
const lineOf = (className: string) => example.split('\n').findIndex((line) => line.includes(`"class_name": "${className}"`)) - 1;

describe('TF.js checkpoints in VS Code', () => {
  let workbench: Workbench;
  const lenses = () => workbench.page.locator('.codelens-decoration a');
  const problems = async () => (await workbench.openProblems()).join('\n');

  beforeAll(async () => {
    cpSync('examples/oscillator-rnn-tfjs', join(workspace, 'oscillator'), { recursive: true });
    cpSync('examples/oscillator-rnn-tfjs', join(workspace, 'lambda'), { recursive: true });
    writeFileSync(join(workspace, 'lambda', 'model.json'), example.replace('"class_name": "Dense"', '"class_name": "Lambda"'));
    mkdirSync(join(workspace, 'other'));
    writeFileSync(join(workspace, 'other', 'model.json'), '{ "name": "no model at all" }\n');
    workbench = await Workbench.launch({ vsix, workspace, name: 'tfjs' });
  });

  afterAll(async () => {
    await workbench?.close();
    rmSync(workspace, { recursive: true, force: true });
  });

  it('checks the model in the editor and shows the report page', async () => {
    await workbench.openFile('oscillator/model.json');
    await workbench.runCommand('RNN Stability: Check RNN stability');
    const page = await workbench.webview('section.verdict', waiting.timeout);
    await expect.poll(() => page.locator('section.verdict').textContent(), waiting).toMatch(/Certified stable/);
    expect(await page.locator('h1').textContent()).toContain('model.json');
    await workbench.screenshot('tfjs-report');
  });

  it("has the findings at the layer's object, with λ and k above it", async () => {
    await expect.poll(problems, waiting).toMatch(new RegExp(`Certified stable.*\\[Ln ${lineOf('SimpleRNN')}, Col \\d+\\]`));
    await workbench.runCommand('View: Close All Editors');
    await workbench.clickProblem('Certified stable');
    await expect.poll(() => lenses().allInnerTexts(), waiting).toEqual(['rnn: λ = 0.6131, k = 17']);
    await workbench.screenshot('tfjs-lens');
  });

  it('exports from the light bulb, beside the checkpoint', async () => {
    await workbench.applyQuickFix('Certified stable', 'Export truncated feedforward ONNX (k = 17)');
    const exported = () => readdirSync(join(workspace, 'oscillator')).find((file) => file === 'model.truncated-17.onnx');
    await expect.poll(exported, waiting).toBeDefined();
    const { graph } = readModel(readFileSync(join(workspace, 'oscillator', exported()!)));
    expect(graph.node.filter((n) => n.opType === 'RNN')).toEqual([]);
  });

  it("checks all: a layer that is not understood is an error at its place, another tool's model.json none", async () => {
    await workbench.runCommand('RNN Stability: Check all RNN checkpoints in workspace');
    await expect.poll(problems, waiting).toMatch(new RegExp(`Layer state \\(Lambda\\).*\\[Ln ${lineOf('Dense')}, Col \\d+\\]`));
    await expect
      .poll(async () => (await workbench.notifications(true)).join('\n'), waiting)
      .toContain('1 model.json of something else');
    // The last of the files is `other`, so its outcome is in by now.
    expect(await problems()).not.toContain('no TF.js model');
    await workbench.screenshot('tfjs-problems');
  });

  it('throws nothing', () => {
    expect(workbench.consoleMessages.filter((m) => m.kind !== 'error')).toEqual([]);
  });
});
