// Runs a TypeScript program of this repository: node scripts/run.mjs PROGRAM.ts [ARGUMENT ...]. Packages are left to Node.
import { build } from 'esbuild';
import { mkdir, rm } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const [program, ...rest] = process.argv.slice(2);
const outfile = resolve('.cache', 'run', `${basename(program, '.ts')}-${process.pid}.mjs`);
await mkdir(resolve('.cache', 'run'), { recursive: true });
await build({
  entryPoints: [program],
  outfile,
  bundle: true,
  packages: 'external',
  platform: 'node',
  format: 'esm',
  target: 'node20',
  sourcemap: 'inline',
  logLevel: 'warning',
});
process.argv.splice(2, process.argv.length, ...rest);
try {
  await import(pathToFileURL(outfile).href);
} finally {
  await rm(outfile, { force: true });
}
