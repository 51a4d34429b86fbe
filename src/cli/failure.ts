import { BadInputError } from '../errors.js';

/** One line on stderr: the file, the place in it, and the mend. */
export function describeFailure(error: unknown, file?: string): string {
  const where = file === undefined ? '' : `${file}: `;
  if (error instanceof BadInputError) {
    const { place, message } = error;
    return file !== undefined && place ? `${file}:${place.startLine}:${place.startColumn}: ${message}` : `${where}${message}`;
  }
  return `${where}unexpected failure, please report it: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
}

export function fail(error: unknown): void {
  console.error(`error: ${describeFailure(error)}`);
  process.exitCode = 2;
}
