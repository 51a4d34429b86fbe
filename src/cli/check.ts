import { nodeFiles } from './nodeFiles.js';
import { check } from '../jobs/check.js';
import { markdownReport } from '../report/markdown.js';
import type { StabilityReport } from '../report/report.js';
import { sarifReport } from '../report/sarif.js';
import { textReport } from '../report/text.js';
import type { InferenceRuntime } from '../runtime/inference.js';
import { describeFailure } from './failure.js';
import { checkOptions, terminalProgress, type CommonArguments } from './options.js';

interface CheckArguments extends CommonArguments {
  format: 'text' | 'json' | 'markdown' | 'sarif';
  failOn?: 'unstable' | 'inconclusive' | 'uncertified';
}

function isFailure(report: StabilityReport, failOn: CheckArguments['failOn']): boolean {
  switch (failOn) {
    case undefined:
      return false;
    case 'unstable':
      return report.verdict === 'unstable';
    case 'inconclusive':
      return report.verdict === 'unstable' || report.verdict === 'inconclusive';
    case 'uncertified':
      return report.safeLength?.basis !== 'certified';
  }
}

function render(reports: readonly StabilityReport[], files: number, args: CheckArguments, version: string): string {
  switch (args.format) {
    case 'text':
      return reports.map(textReport).join('\n');
    case 'markdown':
      return reports.map(markdownReport).join('\n');
    case 'json':
      return JSON.stringify(files === 1 ? reports[0] : reports, null, 2) + '\n';
    case 'sarif':
      return JSON.stringify(sarifReport(reports, version), null, 2) + '\n';
  }
}

/** Checks every file; one that cannot be used gets its line and the others are still checked. */
export async function checkCommand(
  files: string[],
  args: CheckArguments,
  runtime: InferenceRuntime,
  version: string,
): Promise<void> {
  const reports: StabilityReport[] = [];
  let bad = false;
  for (const file of files) {
    const progress = terminalProgress();
    try {
      reports.push(await check(nodeFiles(file, args.samples), checkOptions(args), runtime, progress.report));
      progress.clear();
    } catch (error) {
      progress.clear();
      console.error(`error: ${describeFailure(error, file)}`);
      bad = true;
    }
  }
  if (reports.length > 0) process.stdout.write(render(reports, files.length, args, version));
  process.exitCode = bad ? 2 : reports.some((r) => isFailure(r, args.failOn)) ? 1 : 0;
}
