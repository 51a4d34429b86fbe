import { build } from 'esbuild';
import { describe, expect, it } from 'vitest';

/** The core must run in a web worker: bundled for no platform at all, nothing of Node or VS Code may be asked for. */
describe('the core', () => {
  it.each(['src/jobs/check.ts', 'src/jobs/export.ts', 'src/runtime/onnxRuntime.ts', 'src/report/text.ts', 'src/report/sarif.ts'])(
    '%s imports neither vscode nor Node',
    async (entry) => {
      const outside: string[] = [];
      await build({
        entryPoints: [entry],
        bundle: true,
        write: false,
        format: 'esm',
        platform: 'browser',
        logLevel: 'silent',
        plugins: [
          {
            name: 'outside',
            setup(b) {
              b.onResolve({ filter: /^(node:.*|vscode|fs|path|os|worker_threads|crypto|module|url)$/ }, (args) => {
                // ONNX Runtime's own bundle looks for Node at run time, behind a check of the platform.
                if (!args.importer.includes('onnxruntime-web')) outside.push(`${args.importer} imports ${args.path}`);
                return { path: args.path, external: true };
              });
            },
          },
        ],
      });
      expect(outside).toEqual([]);
    },
  );
});
