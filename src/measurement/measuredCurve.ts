import { outputLayers, type RecurrentNetwork } from '../network/network.js';
import { oneWindowSuffices, sparseLengths } from '../stability/errorCurve.js';
import { startState } from './cellRunner.js';
import type { OutputHead } from './outputHead.js';
import type { SourceSequence } from './sequences.js';
import { outputWidth, type Window, type WindowRunner, type WindowRuns } from './windowRuns.js';

/** Truncation error along given sequences, for every length. */
export interface MeasuredCurve {
  readonly k: number[];
  /** Worst error over all windows compared, for every k. */
  readonly worst: number[];
  /** Where the worst error was seen, for every k: the sequence, and the position that the compared output speaks of. */
  readonly worstAt: readonly Place[];
  /** Worst error within each sequence, [k][sequence]; NaN where a sequence has no window at that k. */
  readonly perSequence: Float64Array[];
  readonly sequences: number;
  /** Windows compared, for every k. */
  readonly windows: Int32Array;
}

export interface Place {
  readonly sequence: number;
  readonly position: number;
}

/** The error of the recurrent output, and where a head is given of the model's own outputs. */
export interface Measurement {
  readonly recurrent: MeasuredCurve;
  readonly output: MeasuredCurve | null;
}

export interface MeasureOptions {
  /** Largest k; sequences shorter than that give fewer. */
  readonly maxLength: number;
  /** About how many windows may be run, all sequences together; each has at least one. */
  readonly windows: number;
  readonly head: OutputHead | null;
}

/** Numbers of full runs that are held at once. */
const largestGroup = 2 ** 22;

class Curve {
  private readonly slot: Map<number, number>;
  private readonly perSequence: Float64Array[];
  private readonly worst: Float64Array;
  private readonly worstAt: Place[];
  private readonly windows: Int32Array;

  constructor(
    private readonly k: readonly number[],
    private readonly sequences: number,
  ) {
    this.slot = new Map(k.map((length, i) => [length, i]));
    this.perSequence = k.map(() => new Float64Array(sequences).fill(NaN));
    this.worst = new Float64Array(k.length).fill(-1);
    this.worstAt = k.map(() => ({ sequence: 0, position: 0 }));
    this.windows = new Int32Array(k.length);
  }

  record(length: number, sequence: number, position: number, error: number): void {
    const i = this.slot.get(length);
    if (i === undefined) return;
    const row = this.perSequence[i]!;
    row[sequence] = Number.isNaN(row[sequence]!) ? error : Math.max(row[sequence]!, error);
    this.windows[i] = this.windows[i]! + 1;
    if (error > this.worst[i]!) {
      this.worst[i] = error;
      this.worstAt[i] = { sequence, position };
    }
  }

  /** The far end of the curve can lack windows; it is cut off, not filled. */
  finished(): MeasuredCurve {
    const unused = this.windows.indexOf(0);
    const length = unused < 0 ? this.k.length : unused;
    return {
      k: this.k.slice(0, length),
      worst: [...this.worst.subarray(0, length)],
      worstAt: this.worstAt.slice(0, length),
      perSequence: this.perSequence.slice(0, length),
      sequences: this.sequences,
      windows: this.windows.subarray(0, length),
    };
  }
}

/** Largest difference of `count` numbers of two arrays. */
function distance(a: Float64Array, aFrom: number, b: Float64Array, bFrom: number, count: number): number {
  let largest = 0;
  for (let i = 0; i < count; i++) {
    const d = Math.abs(a[aFrom + i]! - b[bFrom + i]!);
    // Infinity − Infinity: a state that overflowed is infinitely far from everything.
    if (!(d <= largest)) largest = Number.isNaN(d) ? Infinity : d;
  }
  return largest;
}

export function stepsOf(source: SourceSequence): number {
  return Math.min(...[...source.values()].map((steps) => steps.length));
}

/** A window that is compared with the full run of its sequence: the lengths it speaks of, each at its position. */
interface Comparison extends Window {
  readonly sequence: number;
  /** Directions whose output counts; null: all. */
  readonly reverse: boolean | null;
  /** Truncation length that the output at a position has; 0: it is not compared. */
  readonly lengthAt: (position: number) => number;
}

/**
 * One run from a start gives the errors for all k at once: a step into the window the output has one step of context, and so on.
 * Layers that do not all run one way need a window of its own for every k.
 */
export async function measureCurve(
  network: RecurrentNetwork,
  sequences: readonly SourceSequence[],
  runner: WindowRunner,
  { maxLength, windows, head }: MeasureOptions,
  progress: (fraction: number) => Promise<void> = () => Promise.resolve(),
): Promise<Measurement> {
  const steps = sequences.map(stepsOf);
  const longest = Math.max(0, Math.min(maxLength, Math.max(...steps) - 1));
  // The head reads both directions of a layer at one position, which only a window around it gives.
  const dense = oneWindowSuffices(network) && !(head && network.layers.some((l) => l.directions.length > 1));
  const k = dense ? Array.from({ length: longest + 1 }, (_, i) => i) : sparseLengths(longest);
  const recurrent = new Curve(k, sequences.length);
  const output = head && new Curve(k, sequences.length);
  const perSequence = Math.max(1, Math.floor(windows / sequences.length));
  const widths = network.layers.map(outputWidth);
  const perStep = widths.reduce((a, b) => a + b, 0);
  const units = outputUnits(network);
  const compared = dense
    ? (sequence: number) => denseWindows(network, sequences[sequence]!, sequence, steps[sequence]!, longest, perSequence)
    : (sequence: number) => centredWindows(sequences[sequence]!, sequence, steps[sequence]!, k, perSequence);

  for (let begin = 0; begin < sequences.length;) {
    let end = begin;
    let size = 0;
    while (end < sequences.length && (end === begin || size + steps[end]! * perStep <= largestGroup))
      size += steps[end++]! * perStep;
    const group = sequences.slice(begin, end);
    const full = await runner.run(group.map((source, i) => ({ source, from: 0, to: steps[begin + i]! })));
    const rowsOf = (runs: WindowRuns) => runs.hidden.map((data, layer) => ({ data, width: widths[layer]! }));
    const fullOutput =
      head &&
      (await head.evaluate(
        rowsOf(full),
        placesOf(
          group.map((_, i) => i),
          full.steps,
          () => 0,
          begin,
          steps,
        ),
      ));

    // k = 0: the truncated model answers with its initial state.
    const start = network.layers.map((layer) =>
      Float64Array.from(layer.directions.flatMap((d) => [...startState(d).subarray(0, layer.hiddenSize)])),
    );
    for (let i = 0; i < group.length; i++) {
      const sequence = begin + i;
      const startOutput =
        head &&
        (await head.evaluate(
          start.map((h, layer) => ({ data: repeated(h, steps[sequence]!), width: widths[layer]! })),
          Array.from({ length: steps[sequence]! }, (_, position) => ({ sequence, position })),
        ));
      for (let t = 0; t < steps[sequence]!; t++) {
        const row = i * full.steps + t;
        const error = units.reduce(
          (e, u) =>
            Math.max(e, distance(full.hidden[u.layer]!, row * widths[u.layer]! + u.from, start[u.layer]!, u.from, u.count)),
          0,
        );
        recurrent.record(0, sequence, t, error);
        if (head) output!.record(0, sequence, t, distance(fullOutput!, row * head.size, startOutput!, t * head.size, head.size));
      }
    }

    const pending = group.flatMap((_, i) => compared(begin + i)).sort((a, b) => b.to - b.from - (a.to - a.from));
    for (let first = 0; first < pending.length;) {
      const length = pending[first]!.to - pending[first]!.from;
      const count = Math.max(1, Math.floor(runner.largestBatch / Math.max(1, length * perStep)));
      const batch = pending.slice(first, first + count);
      const part = await runner.run(batch);
      const partOutput =
        head &&
        (await head.evaluate(
          rowsOf(part),
          placesOf(
            batch.map((w) => w.sequence),
            part.steps,
            (w) => batch[w]!.from,
            0,
            steps,
          ),
        ));
      batch.forEach(({ sequence, from, to, reverse, lengthAt }, w) => {
        for (let t = from; t < to; t++) {
          const context = lengthAt(t);
          if (context === 0) continue;
          const fullRow = (sequence - begin) * full.steps + t;
          const partRow = w * part.steps + t - from;
          let error = 0;
          for (const u of units) {
            if (reverse !== null && u.reverse !== reverse) continue;
            const width = widths[u.layer]!;
            error = Math.max(
              error,
              distance(full.hidden[u.layer]!, fullRow * width + u.from, part.hidden[u.layer]!, partRow * width + u.from, u.count),
            );
          }
          recurrent.record(context, sequence, t, error);
          if (head)
            output!.record(
              context,
              sequence,
              t,
              distance(fullOutput!, fullRow * head.size, partOutput!, partRow * head.size, head.size),
            );
        }
      });
      first += batch.length;
      await progress((begin + ((end - begin) * first) / pending.length) / sequences.length);
    }
    begin = end;
  }
  return { recurrent: recurrent.finished(), output: output && output.finished() };
}

/** Where the outputs of the layers that nothing else reads lie in their layer's row. */
function outputUnits(network: RecurrentNetwork): { layer: number; from: number; count: number; reverse: boolean }[] {
  return outputLayers(network).flatMap((layer) => {
    const { directions, hiddenSize } = network.layers[layer]!;
    return directions.map(({ reverse }, d) => ({ layer, from: d * hiddenSize, count: hiddenSize, reverse }));
  });
}

/** Starts spread evenly over where whole windows fit, or over more of the sequence where they are few; windows that run backwards are mirror images. */
function denseWindows(
  network: RecurrentNetwork,
  source: SourceSequence,
  sequence: number,
  steps: number,
  longest: number,
  count: number,
): Comparison[] {
  const starts = Math.min(steps - 1, count);
  const stride = Math.max(steps - longest, starts) / starts;
  const directions = new Set(network.layers.flatMap((layer) => layer.directions.map((d) => d.reverse)));
  return [...directions].flatMap((reverse) =>
    Array.from({ length: starts }, (_, i): Comparison => {
      const skipped = 1 + Math.floor(i * stride);
      if (!reverse) {
        const to = Math.min(steps, skipped + longest);
        return { source, sequence, from: skipped, to, reverse, lengthAt: (t) => t - skipped + 1 };
      }
      const to = steps - skipped;
      return { source, sequence, from: Math.max(0, to - longest), to, reverse, lengthAt: (t) => to - t };
    }),
  );
}

/** A window around each of some positions for every length; only its middle has that context on both sides. */
function centredWindows(
  source: SourceSequence,
  sequence: number,
  steps: number,
  lengths: readonly number[],
  count: number,
): Comparison[] {
  const centres = Math.max(1, Math.min(steps, Math.floor(count / Math.max(1, lengths.length - 1))));
  return lengths.slice(1).flatMap((length) =>
    Array.from({ length: centres }, (_, i): Comparison => {
      const middle = Math.floor(((i + 0.5) * steps) / centres);
      const from = Math.max(0, middle - length + 1);
      const to = Math.min(steps, middle + length);
      return { source, sequence, from, to, reverse: null, lengthAt: (t) => (t === middle ? length : 0) };
    }).filter(({ from, to }) => from > 0 || to < steps),
  );
}

/** Sequence and position of every row of a run; rows behind the end of a window repeat its sequence's last position. */
function placesOf(
  sequences: readonly number[],
  rows: number,
  from: (window: number) => number,
  offset: number,
  steps: readonly number[],
): Place[] {
  return sequences.flatMap((s, w) =>
    Array.from({ length: rows }, (_, p) => ({ sequence: offset + s, position: Math.min(from(w) + p, steps[offset + s]! - 1) })),
  );
}

function repeated(values: Float64Array, times: number): Float64Array {
  const out = new Float64Array(values.length * times);
  for (let i = 0; i < times; i++) out.set(values, i * values.length);
  return out;
}
