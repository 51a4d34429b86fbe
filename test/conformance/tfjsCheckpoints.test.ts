import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { readModel } from '../../src/checkpoint/onnx/model.js';
import { nodeFiles } from '../../src/cli/nodeFiles.js';
import { portableTfjs } from '../../src/cli/portableTfjs.js';
import { tfjsReference } from '../../src/cli/tfjsReference.js';
import { check } from '../../src/jobs/check.js';
import { convertCheckpoint } from '../../src/jobs/convert.js';
import { exportTruncated } from '../../src/jobs/export.js';
import { defaultCheckOptions, type CheckpointFiles } from '../../src/jobs/jobs.js';
import type { ReferenceRuntime } from '../../src/runtime/reference.js';
import { npy, npz } from '../../examples/training/npz.js';
import { checkpointPath, hasCheckpoint } from '../support/checkpoints.js';
import { Random } from '../support/random.js';
import { runtime } from '../support/runtime.js';

/** TF.js checkpoints in files: the example, and published ones that nobody wrote for this project (skipped where absent). */

const silent = () => Promise.resolve();
const options = { ...defaultCheckOptions, maxLength: 64 };
let reference: ReferenceRuntime;
beforeAll(() => {
  reference = tfjsReference(portableTfjs());
});

const operators = (model: Uint8Array) => readModel(model).graph.node.map((n) => n.opType);

async function expectConverted(files: CheckpointFiles, recurrent: readonly string[]) {
  const { model, verification } = await convertCheckpoint(files, {}, runtime, reference, silent);
  expect(verification.oracle).toBe('tfjs');
  expect(verification.difference).toBeLessThan(1e-5);
  expect(operators(model).filter((op) => ['RNN', 'LSTM', 'GRU'].includes(op))).toEqual(recurrent);
}

describe('the example', () => {
  const files = nodeFiles('examples/oscillator-rnn-tfjs/model.json');

  it('is converted, and certified like the ONNX file of the same weights', async () => {
    await expectConverted(files, ['RNN']);
    const [tfjs, onnx] = [
      await check(files, options, runtime, silent),
      await check(nodeFiles('examples/oscillator-rnn.onnx'), options, runtime, silent),
    ];
    expect(tfjs).toMatchObject({ format: 'tfjs', verdict: 'stable', safeLength: onnx.safeLength });
    expect(tfjs.lambda).toBeCloseTo(onnx.lambda!, 12);
    expect(tfjs.curve.bound!.map((v, i) => v / onnx.curve.bound![i]!).every((ratio) => Math.abs(ratio - 1) < 1e-9)).toBe(true);
  });

  it("has its layer's object as the place of the layer and of the verdict", async () => {
    const { layers, diagnostics } = await check(files, options, runtime, silent);
    const { startLine, startColumn, endLine, endColumn } = layers[0]!.place!;
    const lines = readFileSync('examples/oscillator-rnn-tfjs/model.json', 'utf8')
      .split('\n')
      .slice(startLine - 1, endLine);
    lines[0] = lines[0]!.slice(startColumn - 1);
    lines.push(
      lines
        .pop()!
        .slice(0, endColumn - 1)
        .trimStart(),
    );
    expect(JSON.parse(lines.join('\n'))).toMatchObject({ class_name: 'SimpleRNN', config: { name: 'rnn' } });
    expect(diagnostics[0]!.place).toEqual(layers[0]!.place);
  });

  it('is exported, and the export says what the conversion was verified against', async () => {
    const { model, verification } = await exportTruncated(files, { ...options, length: 'auto' }, runtime, silent, reference);
    expect(verification).toMatchObject({ basis: 'certified', passed: true });
    expect(verification.summary).toMatch(/Conversion verified against TF\.js \d+\.\d+\.\d+ \(cpu\)/);
    expect(operators(model)).not.toContain('RNN');
    const alone = await exportTruncated(files, { ...options, length: 'auto' }, runtime, silent);
    expect(alone.verification.summary).toContain('Conversion verified against the cell equations of Keras');
  });
});

const gru = ['tfjs-e2e-gru', 'layers_model', 'model.json'] as const;
describe.skipIf(!hasCheckpoint(...gru))('tfjs-e2e-gru: a GRU that goes backwards, without the key reset_after', () => {
  const files = nodeFiles(checkpointPath(...gru));
  it('is converted', () => expectConverted(files, ['GRU']));
  it('is checked with the range of its embedding, and exported whole and at 6 steps', async () => {
    for (const length of ['auto', 6] as const) {
      const { report, verification } = await exportTruncated(files, { ...options, length }, runtime, silent, reference);
      expect(report).toMatchObject({
        inputRange: { source: 'derived' },
        layers: [{ cell: 'gru', direction: 'reverse', hiddenSize: 4 }],
      });
      expect(verification).toMatchObject({ length: length === 'auto' ? 10 : 6, passed: true });
    }
  });
});

const text = ['tfjs-reiinakano-textgen', 'lstm', 'model.json'] as const;
describe.skipIf(!hasCheckpoint(...text))('tfjs-reiinakano-textgen: LSTM with hard_sigmoid, two groups without extension', () => {
  const files = nodeFiles(checkpointPath(...text));
  it('is converted', () => expectConverted(files, ['LSTM']));
  it('is checked, and exported whole and at 12 steps over one-hot letters', async () => {
    const random = new Random(70);
    const letters = new Float32Array(48 * 40 * 57);
    for (let i = 0; i < 48 * 40; i++) letters[i * 57 + random.int(0, 56)] = 1;
    const samples = { name: 'letters.npz', read: () => Promise.resolve(npz({ lstm_2_input: npy(letters, [48, 40, 57]) })) };
    for (const length of ['auto', 12] as const) {
      const { report, verification } = await exportTruncated(
        { ...files, samples },
        { ...options, length },
        runtime,
        silent,
        reference,
      );
      expect(report.layers).toMatchObject([{ cell: 'lstm', inputSize: 57, hiddenSize: 128 }]);
      expect(verification).toMatchObject({ length: length === 'auto' ? 40 : 12, passed: true, source: 'samples' });
    }
  });
});
