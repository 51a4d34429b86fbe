import { mkdir, writeFile } from 'node:fs/promises';
import { schemaText } from '../src/report/schemaText.js';

/** Writes the published JSON Schema of the report from the type's own source. */
await mkdir('schema', { recursive: true });
await writeFile('schema/report.schema.json', schemaText());
