import * as vscode from 'vscode';
import { parseInputRange } from '../jobs/inputRange.js';
import { defaultCheckOptions, type CheckOptions } from '../jobs/jobs.js';
import { baseName } from './checkpointFiles.js';

const section = 'rnnStability';

/** The settings that bear on one checkpoint. Values out of range fall back to the default: settings.json is typed by hand. */
export function checkOptions(resource: vscode.Uri): CheckOptions {
  const settings = vscode.workspace.getConfiguration(section, resource);
  const epsilon = settings.get<unknown>('epsilon');
  const maxLength = settings.get<unknown>('maxLength');
  const range = settings.get<unknown>('inputRange');
  return {
    ...defaultCheckOptions,
    ...(isFinite(epsilon) && epsilon > 0 ? { epsilon } : {}),
    ...(isFinite(maxLength) && maxLength >= 1 ? { maxLength: Math.floor(maxLength) } : {}),
    ...(settings.get<unknown>('at') === 'output' ? { at: 'output' } : {}),
    ...inputRange(range),
    ...given(resource, 'set'),
    ...given(resource, 'states'),
  };
}

/** What was said of one checkpoint's inputs (`set`) or states: under its path in the workspace folder, or under its file name. */
function given(resource: vscode.Uri, key: 'set' | 'states'): Partial<Record<typeof key, Record<string, string>>> {
  const value = vscode.workspace.getConfiguration(section, resource).get<unknown>(key);
  const byCheckpoint = isObject(value) ? value : {};
  const own = byCheckpoint[vscode.workspace.asRelativePath(resource, false)] ?? byCheckpoint[baseName(resource)];
  if (!isObject(own)) return {};
  const isAnswer = (v: unknown) => typeof v === 'string' || typeof v === 'number';
  const entries = Object.entries(own).filter(([, v]) => isAnswer(v));
  return entries.length === 0 ? {} : { [key]: Object.fromEntries(entries.map(([name, v]) => [name, String(v)])) };
}

/** Adds an answer `NAME=VALUE` for one checkpoint; null forgets all of its answers. */
export async function setGiven(resource: vscode.Uri, key: 'set' | 'states', answer: string | null): Promise<void> {
  const value = vscode.workspace.getConfiguration(section, resource).get<unknown>(key);
  const [path, name] = [vscode.workspace.asRelativePath(resource, false), baseName(resource)];
  const others = Object.fromEntries(Object.entries(isObject(value) ? value : {}).filter(([k]) => k !== path && k !== name));
  const before = given(resource, key)[key] ?? {};
  const at = answer?.indexOf('=') ?? 0;
  const own = answer === null ? {} : { [path]: { ...before, [answer.slice(0, at)]: answer.slice(at + 1) } };
  await update(resource, key, { ...others, ...own });
}

/** The samples file the user chose for this checkpoint; undefined: none was. */
export function samplesFile(resource: vscode.Uri): vscode.Uri | undefined {
  const setting = vscode.workspace.getConfiguration(section, resource).get<unknown>('samples');
  if (typeof setting !== 'string' || setting.trim() === '') return undefined;
  const base = vscode.workspace.getWorkspaceFolder(resource)?.uri ?? vscode.Uri.joinPath(resource, '..');
  const path = setting.trim().replace(/^\$\{workspaceFolder\}[\\/]*/, '');
  const isAbsolute = path.startsWith('/') || /^[A-Za-z]:[\\/]/.test(path);
  return isAbsolute ? base.with({ path: vscode.Uri.file(path).path }) : vscode.Uri.joinPath(base, path.replaceAll('\\', '/'));
}

export function checksOnSave(resource: vscode.Uri): boolean {
  return vscode.workspace.getConfiguration(section, resource).get<boolean>('checkOnSave', true);
}

/** Glob that `findFiles` leaves out, from the globs of the setting; null excludes nothing. */
export function excludeGlob(folder: vscode.WorkspaceFolder): string | null {
  const globs = vscode.workspace.getConfiguration(section, folder).get<unknown>('exclude');
  const list = Array.isArray(globs) ? globs.filter((glob): glob is string => typeof glob === 'string' && glob !== '') : [];
  if (list.length === 0) return null;
  return list.length === 1 ? list[0]! : `{${list.join(',')}}`;
}

/** Whether a change of settings can alter the report of this checkpoint. */
export function affectsReport(change: vscode.ConfigurationChangeEvent, resource: vscode.Uri): boolean {
  return ['epsilon', 'at', 'inputRange', 'samples', 'maxLength', 'set', 'states'].some((key) =>
    change.affectsConfiguration(`${section}.${key}`, resource),
  );
}

/** [lower, upper], "samples", or an object with one range per feature; anything else is as good as none. */
function inputRange(value: unknown): Pick<CheckOptions, 'inputRange'> {
  if (value === 'samples') return { inputRange: value };
  if (isRange(value)) return { inputRange: { lower: value[0], upper: value[1] } };
  try {
    return { inputRange: parseInputRange(value, 'rnnStability.inputRange') };
  } catch {
    return {};
  }
}

/** The samples that checkpoints of this folder are measured on; undefined: those beside each of them. */
export async function setSamples(resource: vscode.Uri, samples: vscode.Uri | undefined): Promise<void> {
  const folder = vscode.workspace.getWorkspaceFolder(resource);
  const inside = samples && folder && vscode.workspace.getWorkspaceFolder(samples) === folder;
  await update(resource, 'samples', inside ? vscode.workspace.asRelativePath(samples, false) : samples?.fsPath);
}

/** Lets the input range of this folder's checkpoints be taken from their samples. */
export async function takeRangeFromSamples(resource: vscode.Uri): Promise<void> {
  await update(resource, 'inputRange', 'samples');
}

async function update(resource: vscode.Uri, key: string, value: string | object | undefined): Promise<void> {
  const inFolder = vscode.workspace.getWorkspaceFolder(resource) !== undefined;
  const target = inFolder ? vscode.ConfigurationTarget.WorkspaceFolder : vscode.ConfigurationTarget.Global;
  await vscode.workspace.getConfiguration(section, resource).update(key, value, target);
}

function isFinite(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isRange(value: unknown): value is [number, number] {
  return Array.isArray(value) && value.length === 2 && value.every(isFinite) && (value[0] as number) <= (value[1] as number);
}
