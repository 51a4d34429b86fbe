import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    // Workers compete for memory with ONNX Runtime; two at a time also suit small CI machines.
    maxWorkers: 2,
    reporters: ['default', 'json'],
    outputFile: { json: 'test-output/results.json' },
    projects: [
      {
        test: {
          name: 'core',
          include: ['test/{unit,property,conformance}/**/*.test.ts'],
          testTimeout: 120_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: 'vscode',
          include: ['test/vscode/**/*.test.ts'],
          testTimeout: 180_000,
          hookTimeout: 900_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
