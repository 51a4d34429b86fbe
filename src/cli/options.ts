import type { CheckOptions } from '../jobs/jobs.js';

/** Options of both commands as commander parses them. */
export interface CommonArguments {
  epsilon: number;
  at: CheckOptions['at'];
  inputRange?: Exclude<CheckOptions['inputRange'], undefined>;
  samples?: string;
  confidence: number;
  quantile: number;
  maxLength: number;
  set?: Record<string, string>;
  state?: Record<string, string>;
}

export function checkOptions(args: CommonArguments): CheckOptions {
  const { epsilon, at, confidence, quantile, maxLength, inputRange, set, state } = args;
  return {
    epsilon,
    at,
    confidence,
    quantile,
    maxLength,
    ...(inputRange ? { inputRange } : {}),
    ...(set ? { set } : {}),
    ...(state ? { states: state } : {}),
  };
}

/** Progress on one line of a terminal; silent in a pipe or a log. */
export function terminalProgress(): { report: (step: string, fraction: number) => Promise<void>; clear: () => void } {
  const interactive = process.stderr.isTTY;
  return {
    report(step, fraction) {
      if (interactive) process.stderr.write(`\r\x1b[K${String(Math.round(fraction * 100)).padStart(3)} % ${step}`);
      return Promise.resolve();
    },
    clear() {
      if (interactive) process.stderr.write('\r\x1b[K');
    },
  };
}
