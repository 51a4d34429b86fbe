import type { FeatureRange, InputRange } from './networkBounds.js';

/** Ranges taken from samples are wider than the samples by this share of each feature's width, on both sides. */
export const sampleMargin = 0.1;

/** Smallest and largest value of every feature. */
export function extentOf(steps: Iterable<ArrayLike<number>>): { lower: number[]; upper: number[] } {
  const lower: number[] = [];
  const upper: number[] = [];
  for (const x of steps) {
    for (let i = 0; i < x.length; i++) {
      const v = x[i]!;
      if (!(lower[i]! <= v)) lower[i] = v;
      if (!(upper[i]! >= v)) upper[i] = v;
    }
  }
  return { lower, upper };
}

/**
 * The input range that the samples fill, feature by feature, with the margin. A certificate for it says nothing about inputs outside.
 * @param sources name and steps of every source that takes a stated range
 */
export function rangeOfSamples(sources: readonly (readonly [string, readonly ArrayLike<number>[]])[]): InputRange {
  const ranges = sources.map(([name, steps]): [string, FeatureRange] => {
    const seen = extentOf(steps);
    const margin = seen.lower.map((v, i) => sampleMargin * (seen.upper[i]! - v));
    const lower = seen.lower.map((v, i) => v - margin[i]!);
    const upper = seen.upper.map((v, i) => v + margin[i]!);
    // One number stands for all features.
    return [name, lower.length === 1 ? { lower: lower[0]!, upper: upper[0]! } : { lower, upper }];
  });
  const all = ranges.flatMap(([, r]) => [r.lower, r.upper].flat(2) as number[]);
  // The range of anything else, an initial state for one, holds them all.
  const hull = { lower: Math.min(0, ...all), upper: Math.max(0, ...all) };
  return { ...hull, sources: Object.fromEntries(ranges) };
}
