import { nodeFiles } from './nodeFiles.js';
import { exportTruncated } from '../jobs/export.js';
import { formatNumber } from '../report/format.js';
import { lazyReference, type TfjsBackend } from './reference.js';
import type { InferenceRuntime } from '../runtime/inference.js';
import { describeFailure } from './failure.js';
import { checkTarget, writeAtomically } from './output.js';
import { checkOptions, terminalProgress, type CommonArguments } from './options.js';

interface ExportArguments extends CommonArguments {
  output: string;
  length: number | 'auto';
  force?: boolean;
  tfjsBackend: TfjsBackend;
}

export async function exportCommand(file: string, args: ExportArguments, runtime: InferenceRuntime): Promise<void> {
  const progress = terminalProgress();
  try {
    await checkTarget(args.output, file, args.force === true);
    const result = await exportTruncated(
      nodeFiles(file, args.samples),
      { ...checkOptions(args), length: args.length },
      runtime,
      progress.report,
      lazyReference(args.tfjsBackend),
    );
    progress.clear();
    const { verification } = result;
    await writeAtomically(args.output, result.model);
    console.log(
      `${args.output}: ${formatNumber(verification.bytes / 1000)} kB, ${verification.nodes} nodes, no recurrent operator`,
    );
    console.log(verification.summary);
  } catch (error) {
    progress.clear();
    console.error(`error: ${describeFailure(error, file)}`);
    process.exitCode = 2;
  }
}
