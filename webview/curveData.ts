import type { StabilityReport } from '../src/report/report.js';

/** The error curve ready to draw: on a logarithmic axis of whole decades, with what lies outside it clipped. Pure. */
export interface CurveData {
  k: number[];
  bound: number[] | null;
  measured: number[] | null;
  /** Errors that half of the sequences, and that the stated share of them, stay at or below. */
  band: { share: number; median: number[]; quantile: number[] } | null;
  /** Ends of the error axis. */
  floor: number;
  top: number;
  /** Values that are drawn at an end of the axis. */
  clippedBelow: boolean;
  clippedAbove: boolean;
}

/** Without any curve nothing could be run or bounded, and an export could not be verified. */
export function hasCurve({ curve }: StabilityReport): boolean {
  return curve.bound !== null || curve.measured !== null;
}

/** More decades than this and the part around epsilon becomes unreadable. */
const decadesBelow = 5;
const decadesAbove = 6;

export function curveData({ curve, epsilon }: StabilityReport): CurveData {
  const values = [...(curve.bound ?? []), ...(curve.measured ?? [])];
  const positive = values.filter((value) => value > 0);
  const lowest = Math.max(Math.min(epsilon / 10, ...positive), epsilon * 10 ** -decadesBelow);
  const highest = Math.min(Math.max(epsilon * 10, ...positive), epsilon * 10 ** decadesAbove);
  // A hair of slack, or rounding would add a decade to an exact power of ten.
  const floor = 10 ** Math.floor(Math.log10(lowest) + 1e-9);
  const top = 10 ** Math.ceil(Math.log10(highest) - 1e-9);
  return {
    k: curve.k,
    bound: curve.bound,
    measured: curve.measured,
    band: curve.band ?? null,
    floor,
    top,
    clippedBelow: values.some((value) => value < floor * (1 - 1e-9)),
    clippedAbove: values.some((value) => value > top * (1 + 1e-9)),
  };
}

export function clipped(data: CurveData, value: number): number {
  return Math.min(data.top, Math.max(data.floor, value));
}

/** The lengths worth drawing end where every curve has reached the floor: a long certified curve goes on far below it. */
export function lastDrawn(data: CurveData): number {
  const last = data.k.at(-1) ?? 1;
  const curves = [data.bound, data.measured].filter((curve) => curve !== null);
  const end = data.k.findIndex((_, index) => curves.every((curve) => (curve[index] ?? 0) <= data.floor));
  return Math.max(1, data.k[end] ?? last);
}

/** What is known at a truncation length. Where the curve skips it the next shorter one speaks, whose bound holds here too. */
export function valuesAt(data: CurveData, length: number): { k: number; bound: number | null; measured: number | null } {
  let index = data.k.length - 1;
  while (index > 0 && data.k[index]! > length) index--;
  return { k: data.k[index] ?? 0, bound: data.bound?.[index] ?? null, measured: data.measured?.[index] ?? null };
}

/** The lengths that can be chosen: an export needs at least one step. */
export function lengthRange(data: CurveData): { min: number; max: number } {
  return { min: 1, max: Math.max(1, data.k.at(-1) ?? 1) };
}

/** Rows of the table behind the chart: all of a short curve, else 1, 2, 3, 5, 7, 10, 15, 20, … and the given length. */
export function tableRows(data: CurveData, length: number): number[] {
  if (data.k.length <= 24) return data.k.map((_, index) => index);
  const steps = [1, 1.5, 2, 3, 5, 7];
  const round = new Set([0, length, data.k.at(-1)!, 1, 2, 3, 5, 7]);
  for (let decade = 10; decade <= data.k.at(-1)!; decade *= 10) for (const step of steps) round.add(step * decade);
  return data.k.flatMap((k, index) => (round.has(k) ? [index] : []));
}
