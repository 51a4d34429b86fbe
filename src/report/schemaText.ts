import { ReportSchema } from './report.js';

/** The JSON Schema of the report as it is published in schema/report.schema.json. */
export function schemaText(): string {
  return JSON.stringify({ $schema: 'https://json-schema.org/draft/2020-12/schema', ...ReportSchema }, null, 2) + '\n';
}
