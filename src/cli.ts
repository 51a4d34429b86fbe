import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { Command, InvalidArgumentError, Option } from 'commander';
import { version } from '../package.json';
import { checkCommand } from './cli/check.js';
import { convertCommand } from './cli/convert.js';
import { exportCommand } from './cli/export.js';
import { fail } from './cli/failure.js';
import { parseInputRange } from './jobs/inputRange.js';
import { defaultCheckOptions } from './jobs/jobs.js';
import { createRuntime } from './runtime/onnxRuntime.js';
import type { InputRange } from './stability/networkBounds.js';

/** The command line: rnn-stability check | export | convert. Exit status 0 done, 1 the verdict that --fail-on names, 2 bad usage or input. */

const runtime = createRuntime(() => readFile(fileURLToPath(new URL('ort-wasm-simd-threaded.wasm', import.meta.url))));

function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0) || !Number.isFinite(value)) throw new InvalidArgumentError('it must be a positive number.');
  return value;
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new InvalidArgumentError('it must be a whole number of at least 1.');
  return value;
}

function share(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value < 1)) throw new InvalidArgumentError('it must lie between 0 and 1.');
  return value;
}

function range(text: string): InputRange | 'samples' {
  if (text === 'samples') return text;
  if (/\.json$/i.test(text)) return rangeFile(text);
  const [lower, upper, ...rest] = text.split(',').map((part) => (part.trim() === '' ? NaN : Number(part)));
  if (
    lower === undefined ||
    upper === undefined ||
    rest.length > 0 ||
    !Number.isFinite(lower) ||
    !Number.isFinite(upper) ||
    lower > upper
  ) {
    throw new InvalidArgumentError(
      'it must be two numbers, the lower one first, such as -1,1, or samples, or a .json file with one range per feature.',
    );
  }
  return { lower, upper };
}

/** NAME=VALUE, given any number of times. */
function assignment(text: string, before: Record<string, string> = {}): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1 || at === text.length - 1) throw new InvalidArgumentError('it must be NAME=VALUE, such as sr=16000.');
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

function rangeFile(path: string): InputRange {
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new InvalidArgumentError(`${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  try {
    return parseInputRange(content, path);
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? `${error.message}.` : String(error));
  }
}

/** Options that both commands share, because an export begins with a check. */
function withCheckOptions(command: Command): Command {
  const d = defaultCheckOptions;
  return command
    .option('--epsilon <E>', 'allowed error, max absolute, at the place that --at names', positive, d.epsilon)
    .addOption(
      new Option('--at <PLACE>', "where the error counts: the recurrent layers' output, or the model's own outputs")
        .choices(['recurrent', 'output'])
        .default(d.at),
    )
    .option(
      '--input-range <R>',
      "range of the model's float inputs: LO,HI; samples, as far as the samples reach; or a .json file with one range per feature (default: from the graph, else -1,1)",
      range,
    )
    .option(
      '--samples <PATH>',
      'sample sequences: .npz, .npy, .csv, .json, .pb, or a folder of them (default: NAME.samples.* beside the checkpoint)',
    )
    .option('--confidence <C>', 'confidence of a length measured on samples', share, d.confidence)
    .option('--quantile <Q>', 'share of sequences that a length measured on samples must hold for', share, d.quantile)
    .option('--max-length <K>', 'longest truncation length considered', wholeNumber, d.maxLength)
    .option<Record<string, string>>(
      '--set <NAME=VALUE>',
      'fix an input of the model to a value (sr=16000) or a shape (input=1x512); repeatable',
      assignment,
    )
    .option<Record<string, string>>(
      '--state <IN=OUT>',
      'streaming models: the output OUT is fed back to the input IN (default: recognised); repeatable',
      assignment,
    );
}

const tfjsBackend = () =>
  new Option('--tfjs-backend <B>', 'what runs the original of a TF.js model: cpu, or node (@tensorflow/tfjs-node, if installed)')
    .choices(['cpu', 'node'])
    .default('cpu');

const program = new Command('rnn-stability')
  .description('Is a recurrent checkpoint stable, how many past steps does it use, and may a feed-forward model replace it?')
  .version(version)
  .showHelpAfterError('(rnn-stability --help lists the commands and options)')
  .exitOverride((error) => {
    process.exit(error.exitCode === 0 ? 0 : 2);
  });

withCheckOptions(program.command('check'))
  .description('check checkpoints and report verdict, safe length and certificates')
  .argument('<FILE...>', 'checkpoints: ONNX files, model.json of TF.js layers models')
  .addOption(new Option('--format <F>', 'form of the report').choices(['text', 'json', 'markdown', 'sarif']).default('text'))
  .addOption(
    new Option(
      '--fail-on <V>',
      'exit with 1 on this verdict or a worse one (uncertified: anything but a certified length)',
    ).choices(['unstable', 'inconclusive', 'uncertified']),
  )
  .action((files, options) => checkCommand(files, options, runtime, version).catch(fail));

withCheckOptions(program.command('export'))
  .description('write a truncated feed-forward ONNX model and verify it against the original')
  .argument('<FILE>', 'ONNX checkpoint, or model.json of a TF.js layers model')
  .requiredOption('-o, --output <OUT.onnx>', 'file to write')
  .option(
    '--length <K>',
    'steps of context, or auto for the safe length',
    (text) => (text === 'auto' ? 'auto' : wholeNumber(text)),
    'auto',
  )
  .addOption(
    new Option('--mode <M>', 'window: the last K inputs give the output at the last step').choices(['window']).default('window'),
  )
  .option('--force', 'overwrite OUT.onnx if it exists')
  .addOption(tfjsBackend())
  .action((file, options) => exportCommand(file, options, runtime).catch(fail));

program
  .command('convert')
  .description('convert a TF.js layers model to ONNX with recurrent nodes, verified against TF.js')
  .argument('<FILE>', 'model.json of a TF.js layers model')
  .requiredOption('-o, --output <OUT.onnx>', 'file to write')
  .option('--input-range <LO,HI>', "range of the model's float inputs for the comparison (default: -1,1)", range)
  .option('--force', 'overwrite OUT.onnx if it exists')
  .addOption(tfjsBackend())
  .action((file, options) => convertCommand(file, options, runtime).catch(fail));

await program.parseAsync();
