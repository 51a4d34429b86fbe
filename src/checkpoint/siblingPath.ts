import { BadInputError } from '../errors.js';

/**
 * The segments of a path that a checkpoint names beside itself. The checkpoint is untrusted: a path that could leave its
 * folder is refused, not normalised.
 */
export function siblingSegments(path: string): string[] {
  const segments = path.split(/[\\/]/).filter((segment) => segment !== '' && segment !== '.');
  const leaves = /^[\\/]|^[A-Za-z]:|\0/.test(path) || segments.includes('..');
  if (leaves || segments.length === 0) {
    throw new BadInputError(
      'external-data-outside',
      `the path "${path}" leaves the checkpoint's folder; keep external data beside the checkpoint`,
    );
  }
  return segments;
}
