import { readdirSync } from 'node:fs';

/** npm run bench -- NAME [ARGUMENT ...] runs bench/NAME.ts. */
const [name = ''] = process.argv.slice(2);
const names = readdirSync('bench')
  .filter((file) => file.endsWith('.ts') && file !== 'run.ts')
  .map((file) => file.slice(0, -3));
if (!names.includes(name)) {
  console.error(`usage: npm run bench -- ${names.join(' | ')}`);
  process.exitCode = 2;
} else {
  const program = (await import(`./${name}.ts`)) as { bench(args: readonly string[]): Promise<void> };
  await program.bench(process.argv.slice(3));
}
