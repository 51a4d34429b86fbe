// The main job on the bundled examples: check, truncate, export, verify. Writes into demo-output/.
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';

function run(...args) {
  console.log(`\n$ rnn-stability ${args.join(' ')}`);
  const { status } = spawnSync(process.execPath, ['dist/cli.js', ...args], { stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

rmSync('demo-output', { recursive: true, force: true });
mkdirSync('demo-output');
for (const name of ['oscillator-rnn', 'text-lstm', 'modem-gru']) {
  run('check', `examples/${name}.onnx`);
  run('export', `examples/${name}.onnx`, '-o', `demo-output/${name}.truncated.onnx`);
}
