import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

/** The manifest against the source: what it contributes exists, and what exists it contributes. */

interface Manifest {
  activationEvents: string[];
  contributes: {
    commands: { command: string; title: string }[];
    menus: Record<string, { command: string; when?: string }[]>;
    customEditors: { viewType: string; displayName: string; priority: string; selector: { filenamePattern: string }[] }[];
    configuration: { properties: Record<string, { scope: string; default: unknown; markdownDescription: string }> };
  };
}

const manifestText = readFileSync('package.json', 'utf8');
const manifest = JSON.parse(manifestText) as Manifest;
const strings = JSON.parse(readFileSync('package.nls.json', 'utf8')) as Record<string, string>;
const source = readdirSync('src/vscode')
  .map((file) => readFileSync(`src/vscode/${file}`, 'utf8'))
  .join('\n');

const all = (pattern: RegExp, text: string) => [...text.matchAll(pattern)].map((match) => match[1]!).sort();
const { contributes } = manifest;
const commands = contributes.commands.map(({ command }) => command).sort();

describe('the manifest', () => {
  it('contributes the commands that are typed and registered, and no others', () => {
    const typed = all(/^ {2}'([^']+)':/gm, readFileSync('src/vscode/commands.ts', 'utf8'));
    expect(typed).toEqual(commands);
    expect(all(/registerCommand\(\s*'([^']+)'/g, source)).toEqual(commands);
  });

  it('prefixes every id', () => {
    const ids = [
      ...commands,
      ...contributes.customEditors.map(({ viewType }) => viewType),
      ...Object.keys(contributes.configuration.properties),
    ];
    expect(ids.filter((id) => !id.startsWith('rnnStability.'))).toEqual([]);
  });

  it('keeps the titles that users rely on', () => {
    const titles = Object.fromEntries(contributes.commands.map(({ command, title }) => [command, strings[title.slice(1, -1)]]));
    expect(titles).toEqual({
      'rnnStability.check': 'Check RNN stability',
      'rnnStability.exportFeedforward': 'Export truncated feedforward ONNX',
      'rnnStability.checkWorkspace': 'Check all RNN checkpoints in workspace',
      'rnnStability.chooseSamples': 'Choose sample sequences',
      'rnnStability.chooseInputs': 'Set inputs and states of a streaming model',
      'rnnStability.useSampleRange': 'Take the input range from the samples',
    });
  });

  it('has every string in package.nls.json, and no more', () => {
    expect([...new Set(all(/"%([^%"]+)%"/g, manifestText))]).toEqual(Object.keys(strings).sort());
  });

  it('guards every menu entry', () => {
    for (const [menu, entries] of Object.entries(contributes.menus)) {
      for (const { command, when } of entries) {
        expect(commands).toContain(command);
        if (menu !== 'commandPalette') expect(when).toMatch(/^resourceFilename =~ \/\\\.onnx\$\|\^model\\\.json\$\/i/);
      }
    }
  });

  it('registers the custom editors, and leaves .onnx files to other editors by default', () => {
    expect(contributes.customEditors.map(({ viewType }) => viewType).sort()).toEqual(all(/viewType = '([^']+)'/g, source));
    for (const { selector, priority } of contributes.customEditors) {
      const own = selector.every(({ filenamePattern }) => filenamePattern.startsWith('rnn-stability-report:'));
      expect(priority).toBe(own ? 'default' : 'option');
    }
  });

  it('has described settings of resource scope, all of which are read', () => {
    for (const [id, { scope, default: value, markdownDescription }] of Object.entries(contributes.configuration.properties)) {
      expect(scope).toBe('resource');
      expect(value).toBeDefined();
      expect(markdownDescription).toMatch(/^%setting\./);
      // One mode only so far.
      if (id !== 'rnnStability.exportMode') expect(source).toContain(`'${id.replace('rnnStability.', '')}'`);
    }
  });

  it('activates on use alone', () => {
    expect(manifest.activationEvents).toEqual([]);
  });
});
