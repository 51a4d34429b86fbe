import { outputLayers, type RecurrentNetwork } from '../network/network.js';
import { curveLengths, oneWindowSuffices } from '../stability/errorCurve.js';
import { startState } from './cellRunner.js';
import type { OutputHead } from './outputHead.js';
import { stepsOf, type SourceSequence } from './sequences.js';
import { outputWidth, type Window, type WindowRunner } from './windowRuns.js';

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
  /** For every layer and unit of its output, the largest k at which truncation moved the unit by more than ε; −1 for none. */
  readonly lastMoved: readonly Int32Array[];
}

export interface MeasureOptions {
  /** Largest k; sequences shorter than that give fewer. */
  readonly maxLength: number;
  /** About how many windows may be run, all sequences together; each has at least one. */
  readonly windows: number;
  /** What a unit has to move by to count as moved. */
  readonly epsilon: number;
  readonly head: OutputHead | null;
}

/** Numbers of full runs that are held at once. */
const largestGroup = 2 ** 22;

/** Gathers errors, one window and length at a time. */
export class Curve {
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

/** A window that is compared with the full run of its sequence: the lengths it speaks of, each at its position. */
interface Comparison extends Window {
  readonly sequence: number;
  /** Directions whose output counts; null: all. */
  readonly reverse: boolean | null;
  /** Truncation length that the output at a position has; 0: it is not compared. */
  readonly lengthAt: (position: number) => number;
}

/** h of all layers, and the head's outputs, in rows of one position each. */
interface Rows {
  readonly hidden: readonly Float64Array[];
  readonly outputs: Float64Array | null;
}

/** Compares rows and keeps what they show, for the recurrent output, the head's, and every unit. */
class Comparer {
  readonly recurrent: Curve;
  readonly output: Curve | null;
  readonly lastMoved: readonly Int32Array[];
  private readonly parts: { layer: number; width: number; from: number; to: number; reverse: boolean; isOutput: boolean }[];

  constructor(
    network: RecurrentNetwork,
    k: readonly number[],
    sequences: number,
    private readonly epsilon: number,
    private readonly head: OutputHead | null,
  ) {
    this.recurrent = new Curve(k, sequences);
    this.output = head && new Curve(k, sequences);
    this.lastMoved = network.layers.map((layer) => new Int32Array(outputWidth(layer)).fill(-1));
    const outputs = new Set(outputLayers(network));
    this.parts = network.layers.flatMap((layer, index) =>
      layer.directions.map(({ reverse }, d) => {
        const from = d * layer.hiddenSize;
        const width = outputWidth(layer);
        return { layer: index, width, from, to: from + layer.hiddenSize, reverse, isOutput: outputs.has(index) };
      }),
    );
  }

  /** @param reverse directions that have this context in the row; null: all */
  compare(length: number, at: Place, full: Rows, fullRow: number, part: Rows, partRow: number, reverse: boolean | null): void {
    let worst = 0;
    for (const { layer, width, from, to, reverse: reads, isOutput } of this.parts) {
      if (reverse !== null && reads !== reverse) continue;
      const error = this.difference(
        full.hidden[layer]!,
        fullRow * width,
        part.hidden[layer]!,
        partRow * width,
        from,
        to,
        (unit) => {
          const moved = this.lastMoved[layer]!;
          if (moved[unit]! < length) moved[unit] = length;
        },
      );
      if (isOutput) worst = Math.max(worst, error);
    }
    this.recurrent.record(length, at.sequence, at.position, worst);
    if (!this.head) return;
    const { size } = this.head;
    const error = this.difference(full.outputs!, fullRow * size, part.outputs!, partRow * size, 0, size);
    this.output!.record(length, at.sequence, at.position, error);
  }

  /** Largest difference of the numbers from `from` to `to` of two rows. */
  private difference(
    a: Float64Array,
    aRow: number,
    b: Float64Array,
    bRow: number,
    from: number,
    to: number,
    moved?: (index: number) => void,
  ): number {
    let largest = 0;
    for (let i = from; i < to; i++) {
      const d = Math.abs(a[aRow + i]! - b[bRow + i]!);
      // Infinity − Infinity: a state that overflowed is infinitely far from everything.
      if (!(d <= largest)) largest = Number.isNaN(d) ? Infinity : d;
      if (!(d <= this.epsilon)) moved?.(i);
    }
    return largest;
  }
}

/**
 * One run from a start gives the errors for all k at once: a step into the window the output has one step of context, and so on.
 * Layers that do not all run one way need a window of its own for every k.
 */
export async function measureCurve(
  network: RecurrentNetwork,
  sequences: readonly SourceSequence[],
  runner: WindowRunner,
  { maxLength, windows, epsilon, head }: MeasureOptions,
  progress: (fraction: number) => Promise<void> = () => Promise.resolve(),
): Promise<Measurement> {
  const steps = sequences.map(stepsOf);
  const longest = Math.max(0, Math.min(maxLength, Math.max(...steps) - 1));
  const dense = oneWindowSuffices(network, head !== null);
  const k = curveLengths(network, head !== null, longest);
  const comparer = new Comparer(network, k, sequences.length, epsilon, head);
  const perSequence = Math.max(1, Math.floor(windows / sequences.length));
  const widths = network.layers.map(outputWidth);
  const perStep = widths.reduce((a, b) => a + b, 0);
  const compared = (sequence: number) =>
    dense
      ? denseWindows(network, sequences[sequence]!, sequence, steps[sequence]!, longest, perSequence)
      : centredWindows(sequences[sequence]!, sequence, steps[sequence]!, k, perSequence);

  /** The windows' outputs; rows behind the end of a window mean nothing and take the head's inputs of its last position. */
  const run = async (batch: readonly (Window & { sequence: number })[]): Promise<Rows & { steps: number }> => {
    const runs = await runner.run(batch);
    if (!head) return { ...runs, outputs: null };
    const places = batch.flatMap(({ sequence, from, to }) =>
      Array.from({ length: runs.steps }, (_, p) => ({ sequence, position: Math.min(from + p, to - 1) })),
    );
    return { ...runs, outputs: await head.evaluate(withWidths(runs.hidden, widths), places) };
  };

  for (let begin = 0; begin < sequences.length;) {
    let end = begin;
    for (let size = 0; end < sequences.length && (end === begin || size <= largestGroup); end++) size += steps[end]! * perStep;
    const group = sequences.slice(begin, end);
    const full = await run(group.map((source, i) => ({ source, sequence: begin + i, from: 0, to: steps[begin + i]! })));
    const row = (sequence: number, t: number) => (sequence - begin) * full.steps + t;

    // k = 0: the truncated model answers with its initial state, and what the head makes of it and of the position's own input.
    const start = network.layers.map((layer) =>
      Float64Array.from(layer.directions.flatMap((d) => [...startState(d).subarray(0, layer.hiddenSize)])),
    );
    for (let sequence = begin; sequence < end; sequence++) {
      const places = Array.from({ length: steps[sequence]! }, (_, position) => ({ sequence, position }));
      const hidden = start.map((h) => repeated(h, places.length));
      const outputs = head && (await head.evaluate(withWidths(hidden, widths), places));
      for (const at of places) comparer.compare(0, at, full, row(sequence, at.position), { hidden, outputs }, at.position, null);
    }

    const pending = group.flatMap((_, i) => compared(begin + i)).sort((a, b) => b.to - b.from - (a.to - a.from));
    for (let first = 0; first < pending.length;) {
      const length = pending[first]!.to - pending[first]!.from;
      const count = Math.max(1, Math.floor(runner.largestBatch / Math.max(1, length * perStep)));
      const batch = pending.slice(first, first + count);
      const part = await run(batch);
      batch.forEach(({ sequence, from, to, reverse, lengthAt }, w) => {
        for (let t = from; t < to; t++) {
          const context = lengthAt(t);
          if (context === 0) continue;
          const at = { sequence, position: t };
          comparer.compare(context, at, full, row(sequence, t), part, w * part.steps + t - from, reverse);
        }
      });
      first += batch.length;
      await progress((begin + ((end - begin) * first) / pending.length) / sequences.length);
    }
    begin = end;
  }
  const { recurrent, output, lastMoved } = comparer;
  return { recurrent: recurrent.finished(), output: output && output.finished(), lastMoved };
}

function withWidths(hidden: readonly Float64Array[], widths: readonly number[]) {
  return hidden.map((data, layer) => ({ data, width: widths[layer]! }));
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

function repeated(values: Float64Array, times: number): Float64Array {
  const out = new Float64Array(values.length * times);
  for (let i = 0; i < times; i++) out.set(values, i * values.length);
  return out;
}
