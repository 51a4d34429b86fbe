import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const documented = new Set([...readFileSync('docs/diagnostics.md', 'utf8').matchAll(/^### ([a-z-]+)$/gm)].map((m) => m[1]!));

function sources(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((e) => e.isFile() && e.name.endsWith('.ts'))
    .map((e) => `${e.parentPath}/${e.name}`);
}

describe('diagnostic codes', () => {
  it('every code in the source is explained in docs/diagnostics.md, and every explained code exists', () => {
    const used = new Set(['stable', 'stable-on-data', 'unstable', 'inconclusive']);
    for (const file of sources('src')) {
      const text = readFileSync(file, 'utf8');
      for (const match of text.matchAll(
        /(?:BadInputError|\bfail)\(\s*'([a-z-]+)'|\bcode: '([a-z-]+)'|\bbad\('([a-z]+-[a-z-]+)'/g,
      ))
        used.add((match[1] ?? match[2] ?? match[3])!);
    }
    expect([...used].sort()).toEqual([...documented].sort());
  });
});
