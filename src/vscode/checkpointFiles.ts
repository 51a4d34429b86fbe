import * as vscode from 'vscode';
import { siblingSegments } from '../checkpoint/siblingPath.js';
import { BadInputError } from '../errors.js';
import type { FileRole } from '../runtime/protocol.js';
import type { JobFiles } from './analysisWorker.js';
import { samplesFile } from './settings.js';

/** V8 holds no larger byte array in every supported version, and larger checkpoints keep their weights in external data. */
const largestFile = 2 ** 31 - 1;

/** Reads what a job asks for through `workspace.fs`, so remote and virtual workspaces work, and remembers every file it saw. */
export class WorkspaceFiles implements JobFiles {
  readonly name: string;
  readonly samples: string | null;
  /** Files that the result depends on, a missing one too: it may appear later. */
  readonly seen = new Map<string, vscode.Uri>();
  readonly #samplesUri: vscode.Uri | undefined;

  constructor(private readonly checkpoint: vscode.Uri) {
    this.name = baseName(checkpoint);
    this.#samplesUri = samplesFile(checkpoint);
    this.samples = this.#samplesUri ? baseName(this.#samplesUri) : null;
  }

  async list(what: FileRole, path: string): Promise<readonly string[] | null> {
    const uri = this.#locate(what, path);
    const stat = await statOf(uri);
    if (stat === undefined || !(stat.type & vscode.FileType.Directory)) return null;
    // A folder's own time changes when files come or go.
    this.seen.set(uri.toString(), uri);
    const entries = await vscode.workspace.fs.readDirectory(uri);
    return entries.flatMap(([name, type]) => (type & vscode.FileType.Directory ? [] : [name]));
  }

  async read(what: FileRole, path: string): Promise<Uint8Array | null> {
    const uri = this.#locate(what, path);
    this.seen.set(uri.toString(), uri);
    const stat = await statOf(uri);
    if (stat === undefined || stat.type & vscode.FileType.Directory) {
      if (what === 'sibling') return null;
      throw new BadInputError('unreadable-file', `${baseName(uri)} does not exist.`);
    }
    if (stat.size > largestFile) {
      const gib = (stat.size / 2 ** 30).toFixed(1);
      throw new BadInputError('too-large', `${baseName(uri)} has ${gib} GiB; files up to 2 GiB can be read.`);
    }
    return vscode.workspace.fs.readFile(uri);
  }

  #locate(what: FileRole, path: string): vscode.Uri {
    if (what === 'checkpoint') return this.checkpoint;
    if (what === 'samples' && this.#samplesUri)
      return path === '' ? this.#samplesUri : vscode.Uri.joinPath(this.#samplesUri, ...siblingSegments(path));
    return vscode.Uri.joinPath(this.checkpoint, '..', ...siblingSegments(path));
  }
}

/** What tells one state of a set of files from another. */
export async function fingerprint(files: Iterable<vscode.Uri>): Promise<string> {
  const parts = [...files].map(async (uri) => {
    const stat = await statOf(uri);
    return `${uri.toString()} ${stat ? `${stat.mtime} ${stat.size}` : 'absent'}`;
  });
  return (await Promise.all(parts)).join('\n');
}

export async function statOf(uri: vscode.Uri): Promise<vscode.FileStat | undefined> {
  try {
    return await vscode.workspace.fs.stat(uri);
  } catch {
    return undefined;
  }
}

export function baseName(uri: vscode.Uri): string {
  return uri.path.slice(uri.path.lastIndexOf('/') + 1);
}
