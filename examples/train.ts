import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
// The gradients of TF.js' operations are registered by this package's build for Node, not by tfjs-core's.
import '@tensorflow/tfjs-layers';
import { mkdir, writeFile } from 'node:fs/promises';
import type { Example } from './training/example.js';
import { trainModem } from './training/modem.js';
import { trainOscillator } from './training/oscillator.js';
import { trainText } from './training/text.js';
import { compareRuntimes, findings } from './training/verify.js';

/** Trains the example checkpoints and writes them with their samples: node scripts/run.mjs examples/train.ts [NAME ...] */

const trainers: Readonly<Record<string, () => Example | Promise<Example>>> = {
  'oscillator-rnn': trainOscillator,
  'text-lstm': trainText,
  'modem-gru': trainModem,
};

const wanted = process.argv.slice(2);
const unknown = wanted.find((name) => !(name in trainers));
if (unknown !== undefined) throw new Error(`No example is named ${unknown}; there are ${Object.keys(trainers).join(', ')}`);

await tf.setBackend('cpu');
for (const [name, train] of Object.entries(trainers)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const start = performance.now();
  console.log(name);
  const example = await train();
  const seconds = ((performance.now() - start) / 1000).toFixed(0);
  for (const [what, value] of Object.entries(example.results)) console.log(`  ${what}: ${value.toPrecision(4)}`);
  console.log(`  largest difference between ONNX Runtime and TF.js: ${(await compareRuntimes(example)).toExponential(1)}`);
  await writeFile(`examples/${name}.onnx`, example.onnx);
  await writeFile(`examples/${name}.samples.npz`, example.samples);
  console.log(`  ${name}.onnx ${example.onnx.length} bytes, ${name}.samples.npz ${example.samples.length} bytes`);
  for (const [file, bytes] of example.tfjs ?? []) {
    const folder = `examples/${name}-tfjs`;
    await mkdir(folder, { recursive: true });
    await writeFile(`${folder}/${file}`, bytes);
    console.log(`  ${name}-tfjs/${file} ${bytes.length} bytes`);
  }
  console.log(`  check: ${await findings(example)}`);
  console.log(`  trained in ${seconds} s`);
}
