import { dsvFormat } from 'd3-dsv';
import { badSamples, type NamedArray } from './sampleArray.js';

/**
 * Rows of numbers, one row per time step and one column per feature, with or without a header. The separator is a comma, a
 * semicolon or a tab. A column named `sequence` says which sequence a row belongs to; without it the file is one sequence.
 */
export function readCsv(bytes: Uint8Array, file: string): NamedArray[] {
  const text = new TextDecoder().decode(bytes);
  const separator = separatorOf(text.slice(0, text.search(/[\r\n]|$/)));
  const rows = dsvFormat(separator)
    .parseRows(text.replace(/^\uFEFF/, ''))
    .map((cells, index) => ({ cells: cells.map((cell) => cell.trim()), line: index + 1 }))
    .filter(({ cells }) => cells.some((cell) => cell !== ''));
  // Where fields are separated by semicolons, the decimal sign may be a comma.
  const numberOf = (cell: string) => (cell === '' ? NaN : Number(separator === ';' ? cell.replace(',', '.') : cell));
  const isHeader = rows[0]?.cells.every((cell) => Number.isNaN(numberOf(cell))) ?? false;
  const header = isHeader ? rows.shift()!.cells : null;
  const width = header?.length ?? rows[0]?.cells.length ?? 0;
  const idColumn = header?.findIndex((name) => name.toLowerCase() === 'sequence') ?? -1;
  const sequences = new Map<string, number[]>();
  for (const { cells, line } of rows) {
    if (cells.length !== width)
      throw badSamples(`${file}, line ${line} has ${cells.length} columns where the first line has ${width}`);
    const id = idColumn < 0 ? '' : cells[idColumn]!;
    const values = sequences.get(id) ?? [];
    if (values.length === 0) sequences.set(id, values);
    cells.forEach((cell, column) => {
      if (column === idColumn) return;
      const value = numberOf(cell);
      if (!Number.isFinite(value)) throw badSamples(`${file}, line ${line}, column ${column + 1}: "${cell}" is not a number`);
      values.push(value);
    });
  }
  const features = idColumn < 0 ? width : width - 1;
  if (sequences.size === 0 || features === 0) throw badSamples(`${file} holds no rows of numbers`);
  return [...sequences].map(([id, values]) => ({
    name: '',
    where: id === '' ? file : `${file}, sequence ${id}`,
    dims: [values.length / features, features],
    data: Float64Array.from(values),
    table: true,
  }));
}

function separatorOf(line: string): string {
  return line.includes(';') ? ';' : line.includes('\t') ? '\t' : ',';
}
