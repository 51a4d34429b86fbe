import { readFile } from 'node:fs/promises';
import { DataType } from '../src/checkpoint/onnx/tensor.js';
import { batchedRunner } from '../src/measurement/batchedRunner.js';
import { cellRunner } from '../src/measurement/cellRunner.js';
import { measureCurve } from '../src/measurement/measuredCurve.js';
import type { SourceSequence } from '../src/measurement/sequences.js';
import type { Window } from '../src/measurement/windowRuns.js';
import type { RecurrentNetwork } from '../src/network/network.js';
import { createRuntime } from '../src/runtime/onnxRuntime.js';
import { randomLstm } from '../test/support/cells.js';
import { Random } from '../test/support/random.js';

/** The measured curve for k = 0…256 over 1,000 windows of an LSTM with 256 units and 64 inputs. */

const [units, features, maxLength, windows] = [256, 64, 256, 1000];
/** Lengths that are run separately for comparison; the time for all is the time for these times this. */
const every = 32;

export async function bench(): Promise<void> {
  const runtime = createRuntime(() => readFile('node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm'));
  const random = new Random(20180525);
  const cell = randomLstm('default', { hidden: units, input: features, scale: 1 }, random);
  const network: RecurrentNetwork = {
    layers: [
      {
        name: 'lstm',
        kind: 'lstm',
        inputSize: features,
        hiddenSize: units,
        directions: [{ cell, reverse: false, initialState: new Float64Array(2 * units) }],
        input: { kind: 'source', size: features, name: 'x', operator: null, range: null, recurrent: false },
      },
    ],
  };
  const steps = 320;
  const sequences = Array.from(
    { length: 20 },
    (): SourceSequence => new Map([['x', Array.from({ length: steps }, () => random.vector(features))]]),
  );
  let cpuSeconds = 0;
  const seconds = async (work: () => Promise<unknown>) => {
    const start = performance.now();
    const before = process.cpuUsage();
    await work();
    const { user, system } = process.cpuUsage(before);
    // Other programs on the machine lengthen the wall time, not this.
    cpuSeconds = (user + system) / 1e6;
    return (performance.now() - start) / 1000;
  };

  const cells = cellRunner(network);
  const few = { maxLength, windows: 2, epsilon: 1e-3, head: null };
  const reference = await measureCurve(network, sequences.slice(0, 2), cells, few);
  const cellSeconds = await seconds(() => cells.run([{ source: sequences[0]!, from: 0, to: maxLength }]));
  console.log(
    `cell equations, float64: ${cellSeconds.toFixed(2)} s a window of ${maxLength} steps, ${(cellSeconds * windows).toFixed(0)} s for ${windows}`,
  );

  for (const type of [DataType.FLOAT, DataType.DOUBLE] as const) {
    const name = type === DataType.FLOAT ? 'ONNX Runtime, float32' : 'ONNX Runtime, float64';
    const runner = await batchedRunner(network, type, runtime);
    let counted: Int32Array | undefined;
    const all = await seconds(async () => {
      counted = (await measureCurve(network, sequences, runner, { maxLength, windows, epsilon: 1e-3, head: null })).recurrent
        .windows;
    });
    const cpu = cpuSeconds;
    const again = await measureCurve(network, sequences.slice(0, 2), runner, few);
    const difference = Math.max(...again.recurrent.worst.map((w, i) => Math.abs(w - reference.recurrent.worst[i]!)));
    console.log(
      `${name}: all k = 0…${maxLength} over ${windows} windows in ${all.toFixed(1)} s, ${cpu.toFixed(1)} s of processor time ` +
        `(${counted![1]} windows at k = 1, ${counted![maxLength]} at k = ${maxLength}); ` +
        `curve within ${difference.toExponential(1)} of the cell equations`,
    );
    if (type === DataType.DOUBLE) break;
    let separate = 0;
    const perSequence = windows / sequences.length;
    for (let k = every; k <= maxLength; k += every) {
      const separateWindows = sequences.flatMap((source) =>
        Array.from({ length: perSequence }, (_, i): Window => ({ source, from: i + 1, to: i + 1 + k })),
      );
      const atOnce = Math.floor(runner.largestBatch / (k * units));
      separate += await seconds(async () => {
        for (let i = 0; i < windows; i += atOnce) await runner.run(separateWindows.slice(i, i + atOnce));
      });
    }
    console.log(
      `  every ${every}th k run separately: ${separate.toFixed(1)} s, so about ${(separate * every).toFixed(0)} s for all; ` +
        `all at once is ${((separate * every) / all).toFixed(0)} times as fast`,
    );
    await runner.release();
  }
  console.log(`largest memory: ${(process.resourceUsage().maxRSS / 1e6).toFixed(2)} GB`);
}
