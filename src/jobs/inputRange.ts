import { BadInputError } from '../errors.js';
import type { FeatureRange, InputRange } from '../stability/networkBounds.js';

/**
 * An input range as users write it in a file: `{"lower": -1, "upper": [1, 2]}`, or an object of these by input name.
 * @throws BadInputError bad-input-range
 */
export function parseInputRange(content: unknown, where: string): InputRange {
  if (isObject(content) && 'lower' in content) return featureRange(content, where);
  if (!isObject(content) || Object.keys(content).length === 0) throw bad(where);
  const sources = Object.fromEntries(
    Object.entries(content).map(([name, range]) => [name, featureRange(range, `${where}, "${name}"`)]),
  );
  const all = Object.values(sources);
  return {
    lower: Math.min(...all.flatMap((r) => r.lower)),
    upper: Math.max(...all.flatMap((r) => r.upper)),
    sources,
  };
}

function featureRange(content: unknown, where: string): FeatureRange {
  if (!isObject(content)) throw bad(where);
  const { lower, upper } = content;
  if (!isBound(lower) || !isBound(upper)) throw bad(where);
  if (Array.isArray(lower) && Array.isArray(upper) && lower.length !== upper.length)
    throw bad(`${where}: lower lists ${lower.length} features and upper ${upper.length}`);
  const count = Array.isArray(lower) ? lower.length : Array.isArray(upper) ? upper.length : null;
  const side = (bound: number | number[]) =>
    count === null || Array.isArray(bound) ? bound : new Array<number>(count).fill(bound);
  const range = { lower: side(lower), upper: side(upper) };
  const crossed = [range.lower].flat().findIndex((v, i) => v > [range.upper].flat()[i]!);
  if (crossed >= 0) throw bad(`${where}: feature ${crossed} has a lower bound above its upper one`);
  return range;
}

function isBound(value: unknown): value is number | number[] {
  const finite = (v: unknown) => typeof v === 'number' && Number.isFinite(v);
  return Array.isArray(value) ? value.length > 0 && value.every(finite) : finite(value);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function bad(where: string): BadInputError {
  return new BadInputError(
    'bad-input-range',
    `${where} is no input range; write {"lower": -1, "upper": 1}, with a list of numbers for one range per feature, or an object of these by input name`,
  );
}
