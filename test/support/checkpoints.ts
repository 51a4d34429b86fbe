import { existsSync } from 'node:fs';
import { resolve } from 'node:path';

/** Published checkpoints and ONNX's node tests, which are not part of the project; tests over them skip where they are absent. */
const folder = resolve(process.env['RNN_CHECKPOINTS'] ?? '../shared/checkpoints');

export function checkpointPath(...parts: string[]): string {
  return resolve(folder, ...parts);
}

export function hasCheckpoint(...parts: string[]): boolean {
  return existsSync(checkpointPath(...parts));
}
