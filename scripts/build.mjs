// Builds the bundles, each apart: the extension host (CommonJS, imports only `vscode`), the worker, the command line and TF.js
// for it (ES modules for Node), and the report page. ONNX Runtime's WebAssembly file lies beside them and is read on demand.
import { build, context } from 'esbuild';
import { chmod, copyFile, mkdir, rm } from 'node:fs/promises';

const watch = process.argv.includes('--watch');
const common = { bundle: true, sourcemap: watch, minify: !watch, legalComments: 'linked', logLevel: 'warning', target: 'es2022' };
// Packages that offer ES modules are bundled as such: what only pretends to be a CommonJS module (UMD) cannot be.
const node = { ...common, platform: 'node', target: 'node20', mainFields: ['module', 'main'] };

// CommonJS packages inside an ES module bundle call `require` for Node's own modules.
const requireForEsm =
  "import { createRequire as _createRequire } from 'node:module'; const require = _createRequire(import.meta.url);";

const bundles = [
  { ...node, entryPoints: ['src/extension.ts'], outfile: 'dist/extension.cjs', format: 'cjs', external: ['vscode'] },
  { ...node, entryPoints: ['src/worker.ts'], outfile: 'dist/worker.js', format: 'esm', banner: { js: requireForEsm } },
  {
    ...node,
    entryPoints: ['src/cli.ts'],
    outfile: 'dist/cli.js',
    format: 'esm',
    banner: { js: `#!/usr/bin/env node\n${requireForEsm}` },
  },
  // TF.js, which the command line loads when it verifies a conversion; the extension has no use for it.
  { ...node, entryPoints: ['src/cli/portableTfjs.ts'], outfile: 'dist/tfjs.js', format: 'esm', banner: { js: requireForEsm } },
  {
    ...common,
    entryPoints: ['webview/report.ts'],
    outfile: 'dist/webview/report.js',
    format: 'iife',
    platform: 'browser',
    loader: { '.css': 'css' },
  },
];

await rm('dist', { recursive: true, force: true });
await mkdir('dist', { recursive: true });
await copyFile('node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm', 'dist/ort-wasm-simd-threaded.wasm');
if (watch) {
  for (const options of bundles) await (await context(options)).watch();
} else {
  await Promise.all(bundles.map((options) => build(options)));
  await chmod('dist/cli.js', 0o755);
}
