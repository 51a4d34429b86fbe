import type { WitnessReport } from '../src/report/report.js';
import { witnessOutcome } from '../src/report/witnessWords.js';
import { count, number, plural } from './format.js';

/** The distance of the two histories of a witness ready to draw, and what the page says of it. Pure. */
export interface DistanceData {
  /** By the cell equations in float64, and in ONNX Runtime; [step, distance]. */
  computed: [number, number][];
  replayed: [number, number][] | null;
  threshold: number;
  lastStep: number;
  /** Ends of the logarithmic axis of distances, whole decades. */
  floor: number;
  top: number;
}

export function distanceData({ distances, replay, threshold }: WitnessReport): DistanceData {
  const points = ({ step, distance }: WitnessReport['distances']) => step.map((t, i): [number, number] => [t, distance[i]!]);
  const computed = points(distances);
  const replayed = replay && points(replay.distances);
  const all = [...computed, ...(replayed ?? [])].map(([, d]) => d).filter((d) => d > 0);
  const decade = (value: number, round: (x: number) => number) => 10 ** round(Math.log10(value));
  return {
    computed,
    replayed,
    threshold,
    lastStep: Math.max(1, ...computed.map(([t]) => t), ...(replayed ?? []).map(([t]) => t)),
    // Outputs that come together after all need no axis down to their last digit.
    floor: decade(Math.max(threshold / 100, Math.min(threshold, ...all)), (x) => Math.floor(x + 1e-9)),
    top: decade(Math.max(10 * threshold, ...all), (x) => Math.ceil(x - 1e-9)),
  };
}

/** Name, value and note of what is known of a witness. */
export function witnessFacts(witness: WitnessReport): [string, string, string][] {
  const { kind, of, layers, prefixes, common, orbits, separator, persistent, replay } = witness;
  const { steps, distance } = witnessOutcome(witness);
  const motion = {
    'two-orbits': persistent ? 'Two attracting orbits' : 'Two orbits',
    'two-phases': 'One orbit, two phases',
    unsettled: 'Unsettled',
  }[kind];
  const motionNote = persistent
    ? 'Both attract what is near them, so the histories stay apart for ever.'
    : kind === 'unsettled'
      ? 'Chaos or a slow drift: seen for as many steps as were run, with no sign of falling.'
      : 'They neither attract nor repel what is near them.';
  const multiplier = (name: string, o: (typeof orbits)[number]): [string, string, string][] =>
    o
      ? [[name, number(o.multiplier), `Period ${count(o.period)}; ${o.multiplier < 1 ? 'below 1, it attracts' : 'not below 1'}.`]]
      : [];
  return [
    [
      'Apart at the end',
      number(distance),
      `After ${plural(steps, 'common step')}${replay?.staysApart ? ', in ONNX Runtime on the file' : ', in float64'}; ${of === 'model' ? 'outputs of the recurrence' : `${layers[0]} by itself`}.`,
    ],
    ['Motion', motion, motionNote],
    ...multiplier('Multiplier, first', orbits[0] ?? null),
    ...multiplier('Multiplier, second', orbits[1] ?? null),
    ...multiplier('Multiplier between', separator),
    [
      'Histories',
      plural(prefixes[0].steps, 'step'),
      `Patterns of ${prefixes.map((p) => count(periodOf(p))).join(' and ')} steps, then a common one of ${count(periodOf(common))}; all inputs are in the JSON report.`,
    ],
  ];
}

function periodOf({ pattern }: WitnessReport['common']): number {
  return Object.values(pattern)[0]?.length ?? 0;
}

/** What a screen reader says of the chart. */
export function distanceSummary({ distances, replay, threshold }: WitnessReport): string {
  const ends = ({ step, distance }: WitnessReport['distances'], place: string) =>
    ` ${place} it is ${number(distance[0]!)} at first and ${number(distance.at(-1)!)} after ${plural(step.at(-1)!, 'step')}.`;
  return (
    `Distance of the outputs after two histories, over the steps of a common input, on a logarithmic axis. Below ${number(threshold)} they would count as merged.` +
    ends(distances, 'By the cell equations') +
    (replay ? ends(replay.distances, 'In ONNX Runtime') : '')
  );
}

/** Some ten rows for the table behind the chart: step, and both distances at or before it. */
export function distanceRows({ computed, replayed, lastStep }: DistanceData): [number, number | null, number | null][] {
  const at = (points: [number, number][] | null, t: number) => {
    const last = points?.at(-1)?.[0] ?? -1;
    return t > last ? null : (points!.findLast(([step]) => step <= t)?.[1] ?? null);
  };
  const steps = new Set(Array.from({ length: 11 }, (_, i) => Math.round((lastStep * i) / 10)));
  return [...steps].map((t) => [t, at(computed, t), at(replayed, t)]);
}
