import { convertCheckpoint } from '../jobs/convert.js';
import type { ConvertOptions } from '../jobs/verifyConversion.js';
import { formatNumber } from '../report/format.js';
import type { InferenceRuntime } from '../runtime/inference.js';
import { describeFailure } from './failure.js';
import { nodeFiles } from './nodeFiles.js';
import { terminalProgress } from './options.js';
import { checkTarget, writeAtomically } from './output.js';
import { lazyReference, type TfjsBackend } from './reference.js';

interface ConvertArguments extends ConvertOptions {
  output: string;
  force?: boolean;
  tfjsBackend: TfjsBackend;
}

export async function convertCommand(file: string, args: ConvertArguments, runtime: InferenceRuntime): Promise<void> {
  const progress = terminalProgress();
  try {
    await checkTarget(args.output, file, args.force === true);
    const reference = lazyReference(args.tfjsBackend);
    const { model, nodes, verification } = await convertCheckpoint(nodeFiles(file), args, runtime, reference, progress.report);
    progress.clear();
    await writeAtomically(args.output, model);
    console.log(`${args.output}: ${formatNumber(model.length / 1000)} kB, ${nodes} nodes`);
    console.log(verification.summary);
  } catch (error) {
    progress.clear();
    console.error(`error: ${describeFailure(error, file)}`);
    process.exitCode = 2;
  }
}
