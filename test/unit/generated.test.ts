import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { schemaText } from '../../src/report/schemaText.js';

/** Generated files are committed; `npm run generate` must have nothing left to change. */
describe('generated files', () => {
  it('schema/report.schema.json comes from the report type', () => {
    expect(readFileSync('schema/report.schema.json', 'utf8')).toBe(schemaText());
  });

  it('onnx_pb.ts comes from onnx.proto', () => {
    const folder = mkdtempSync(join(tmpdir(), 'rnn-stability-generated-'));
    try {
      execFileSync(process.execPath, ['node_modules/@bufbuild/buf/bin/buf', 'generate', '-o', folder], { stdio: 'pipe' });
      expect(readFileSync(join(folder, 'src/checkpoint/onnx/onnx_pb.ts'), 'utf8')).toBe(
        readFileSync('src/checkpoint/onnx/onnx_pb.ts', 'utf8'),
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
