import { badSamples, type NamedArray, type SampleArray } from './sampleArray.js';

/**
 * Nested lists of numbers, or an object of such lists by input name. Where the lists of the outermost level have different
 * lengths, each of them is a sequence of its own.
 */
export function readJson(bytes: Uint8Array, file: string): NamedArray[] {
  let content: unknown;
  try {
    content = JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    throw badSamples(`${file} is no JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  const named = Array.isArray(content) ? [['', content] as const] : Object.entries(content ?? {});
  if (named.length === 0) throw badSamples(`${file} holds no arrays`);
  return named.flatMap(([name, value]) => {
    const where = name === '' ? file : `${file}:${name}`;
    if (!Array.isArray(value)) throw badSamples(`${where} is no list of numbers`);
    const ragged = value.length > 1 && value.some((v) => lengthsOf(v) !== lengthsOf(value[0]));
    if (!ragged) return [{ name, where, ...readNested(value, where) }];
    return value.map((part, i) => ({ name, where: `${where}[${i}]`, ...readNested(part, `${where}[${i}]`) }));
  });
}

/** Lengths of the first lists at every depth, which tell ragged lists from regular ones. */
function lengthsOf(value: unknown): string {
  return Array.isArray(value) ? `${value.length},${lengthsOf(value[0])}` : '';
}

function readNested(value: unknown, where: string): SampleArray {
  const dims: number[] = [];
  for (let v = value; Array.isArray(v); v = v[0]) dims.push(v.length);
  const data: number[] = [];
  const walk = (v: unknown, depth: number, place: string): void => {
    if (depth === dims.length) {
      if (typeof v !== 'number') throw badSamples(`${place} is ${JSON.stringify(v)?.slice(0, 40)}, not a number`);
      data.push(v);
      return;
    }
    if (!Array.isArray(v) || v.length !== dims[depth]) {
      const found = Array.isArray(v) ? `${v.length} elements` : JSON.stringify(v)?.slice(0, 40);
      throw badSamples(`${place} has ${found} where its neighbours have ${dims[depth]} elements`);
    }
    v.forEach((part, i) => walk(part, depth + 1, `${place}[${i}]`));
  };
  walk(value, 0, where);
  return { dims, data: Float64Array.from(data) };
}
