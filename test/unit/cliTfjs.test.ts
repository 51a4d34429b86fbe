import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readOnnx } from '../../src/checkpoint/onnx/reader.js';

/** The built command line over TF.js checkpoints. `npm test` builds it first. */
const folder = mkdtempSync(join(tmpdir(), 'rnn-stability-tfjs-'));
const model = join(folder, 'model.json');
const out = join(folder, 'out.onnx');
beforeAll(() => cpSync('examples/oscillator-rnn-tfjs', folder, { recursive: true }));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function cli(args: readonly string[], cwd = folder) {
  return spawnSync(process.execPath, [resolve('dist/cli.js'), ...args], { encoding: 'utf8', cwd });
}

describe('rnn-stability convert', () => {
  it('writes an ONNX file with a recurrent node, and says that TF.js agrees', () => {
    const { status, stdout, stderr } = cli(['convert', model, '-o', out]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(/^.*out\.onnx: [\d.]+ kB, \d+ nodes\nConversion verified against TF\.js [\d.]+ \(cpu\): /);
    expect(readOnnx(readFileSync(out), new Map()).network.layers).toMatchObject([{ name: 'rnn', kind: 'rnn', hiddenSize: 16 }]);
    expect(readdirSync(folder).filter((file) => file.endsWith('.tmp'))).toEqual([]);
  });

  it('never overwrites unasked, and never the checkpoint', () => {
    const before = readFileSync(out);
    expect(cli(['convert', model, '-o', out])).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('exists; choose another name or pass --force') as string,
    });
    expect(readFileSync(out).equals(before)).toBe(true);
    expect(cli(['convert', model, '-o', out, '--force']).status).toBe(0);
    expect(cli(['convert', model, '-o', model, '--force']).stderr).toContain('would replace the checkpoint itself');
  });

  it('takes TF.js models only', () => {
    expect(cli(['convert', resolve('examples/modem-gru.onnx'), '-o', join(folder, 'x.onnx')])).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('an ONNX model already') as string,
    });
    expect(existsSync(join(folder, 'x.onnx'))).toBe(false);
  });

  it('says in one line that @tensorflow/tfjs-node is not there', () => {
    const { status, stderr } = cli(['convert', model, '-o', out, '--force', '--tfjs-backend', 'node']);
    expect(status).toBe(2);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(stderr).toContain('npm install @tensorflow/tfjs-node');
  });

  it("runs the original in the user's @tensorflow/tfjs-node", () => {
    // The native package has TF.js' whole interface in one module, as this stand-in has.
    const project = join(folder, 'project');
    const stand = join(project, 'node_modules', '@tensorflow', 'tfjs-node');
    mkdirSync(stand, { recursive: true });
    writeFileSync(join(stand, 'package.json'), '{ "name": "@tensorflow/tfjs-node", "version": "4.22.0", "main": "index.js" }');
    const real = (name: string) => JSON.stringify(resolve('node_modules/@tensorflow', name));
    writeFileSync(
      join(stand, 'index.js'),
      `const core = require(${real('tfjs-core')}); require(${real('tfjs-backend-cpu')});
       core.enableProdMode();
       const layers = require(${real('tfjs-layers')});
       module.exports = { ...core, ...layers, version: { 'tfjs-layers': 'stand-in' } };`,
    );
    const { status, stdout, stderr } = cli(['convert', model, '-o', out, '--force', '--tfjs-backend', 'node'], project);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toContain('Conversion verified against TF.js stand-in (tfjs-node)');
  });
});

describe('rnn-stability check and export', () => {
  it('check model.json, with places in JSON and regions in SARIF', () => {
    const report = JSON.parse(cli(['check', model, '--format', 'json']).stdout) as { layers: { place: { startLine: number } }[] };
    const log = JSON.parse(cli(['check', model, '--format', 'sarif']).stdout) as {
      runs: { results: { locations: { physicalLocation: { region?: unknown } }[] }[] }[];
    };
    expect(log.runs[0]!.results[0]!.locations[0]!.physicalLocation.region).toEqual(report.layers[0]!.place);
  });

  it('export what check calls safe', () => {
    const { status, stdout } = cli(['export', model, '-o', join(folder, 'window.onnx')]);
    expect(status).toBe(0);
    expect(stdout).toContain('k = 17 (certified)');
    expect(stdout).toContain('Conversion verified against TF.js');
  });

  it('name the line of a layer that is not understood', () => {
    const broken = join(folder, 'broken.json');
    writeFileSync(broken, readFileSync(model, 'utf8').replace('"class_name": "Dense"', '"class_name": "Lambda"'));
    const { status, stderr } = cli(['check', broken]);
    expect(status).toBe(2);
    expect(stderr).toMatch(/^error: .*broken\.json:\d+:\d+: layer state \(Lambda\): /);
  });
});
