import { multiplications } from '../network/cell.js';
import { matrix, product } from '../network/matrix.js';
import { outputLayers, type RecurrentNetwork } from '../network/network.js';
import { walkSignal, type Signal } from '../network/signal.js';
import { signalPullback } from '../network/signalPullback.js';
import { signalValue } from '../network/signalValues.js';
import { seededRandom } from '../samples/random.js';
import type { Box } from '../stability/interval.js';
import { backwardRun, type BackwardRun } from './backwardRun.js';
import type { Place } from './measuredCurve.js';
import { stepsOf, type SourceSequence } from './sequences.js';
import { outputWidth } from './windowRuns.js';

/** Search within the input range for a sequence on which truncation to k steps costs more than on any that was measured. */
export interface SearchOptions {
  /** Truncation length that is attacked, at least 1. */
  readonly k: number;
  /** Range of every source that is an input of the graph. */
  readonly range: (source: string, size: number) => Box;
  /** The model's own outputs, to attack these; null: the recurrent output. */
  readonly outputs: readonly Signal[] | null;
  /** Windows to climb from beside made-up ones: the worst that were measured. */
  readonly starts: readonly Place[];
  /** Steps that a sequence may have; null: any number. */
  readonly time: number | null;
}

export interface WorstFound {
  readonly error: number;
  /** Number of windows that the search climbed from. */
  readonly startedFrom: number;
}

/** Multiplications that a search may cost: about a second. */
const budget = 6e8;
/** Steps in front of the window that are searched too: what the truncated model does not see. */
const history = 64;
const madeUpStarts = 4;
const mostClimbs = 60;
const seed = 20180525;

/** A sequence under attack: values of every source by step, changed in place. */
type Candidate = Map<string, Float64Array[]>;

/**
 * Gradient ascent by back-propagation through time, projected onto the range; tokens change to those that the gradient favours.
 * @yields the fraction done
 * @returns null where what the layers read is not an input of the graph, so that no such sequence could be fed to the model
 */
export function* searchWorst(
  network: RecurrentNetwork,
  sequences: readonly SourceSequence[],
  options: SearchOptions,
): Generator<number, WorstFound | null> {
  const attack = new Attack(network, options);
  if (!attack.sources) return null;
  const both = network.layers.some((layer) => layer.directions.some((d) => d.reverse));
  const { k, time } = options;
  const perStep = network.layers.flatMap((l) => l.directions).reduce((sum, { cell }) => sum + multiplications(cell) + 2000, 0);
  const starts = [...options.starts.map((place) => fromData(sequences[place.sequence]!, place.position)), ...madeUp()];
  const climbs = (steps: number) =>
    Math.max(2, Math.min(mostClimbs, Math.floor(budget / (starts.length * 3 * (steps + k) * perStep))));
  let worst = 0;
  for (const [i, start] of starts.entries()) {
    const count = climbs(stepsOf(start.sequence));
    let current = attack.evaluate(start.sequence, start.position);
    worst = Math.max(worst, current.error);
    let size = 0.5;
    for (let climb = 0; climb < count && size > 1e-3; climb++) {
      const next = attack.moved(start.sequence, current.gradient(), size);
      const reached = attack.evaluate(next, start.position);
      if (reached.error > current.error) {
        start.sequence = next;
        current = reached;
        worst = Math.max(worst, current.error);
      } else size /= 2;
      yield (i + climb / count) / starts.length;
    }
  }
  return { error: worst, startedFrom: starts.length };

  /** Some steps of a sequence around a position, and the position in them. */
  function fromData(sequence: SourceSequence, position: number): { sequence: Candidate; position: number } {
    const from = Math.max(0, position - k - history + 1);
    const to = both ? Math.min(stepsOf(sequence), position + k + history) : position + 1;
    const values = [...sequence].map(([name, steps]): [string, Float64Array[]] => [
      name,
      steps.slice(from, to).map((v) => v.slice()),
    ]);
    return { sequence: attack.inRange(new Map(values)), position: position - from };
  }

  /** Ends of the range, held or drawn anew at every step. */
  function madeUp(): { sequence: Candidate; position: number }[] {
    const random = seededRandom(seed);
    const length = Math.min(time ?? Infinity, (k + history) * (both ? 2 : 1));
    const position = both ? Math.min(k + history, length) - 1 : length - 1;
    return Array.from({ length: madeUpStarts }, (_, i) => ({ sequence: attack.draw(random, length, i % 2 === 0), position }));
  }
}

interface Evaluation {
  readonly error: number;
  gradient(): Gradient;
}

/** Derivative of the error by source and step; for tokens, the derivative in the row that each one chose. */
type Gradient = Map<string, (Float64Array | null)[]>;

class Attack {
  /** Size of every source, with the table it chooses from where it holds tokens; null where one is no input of the graph. */
  readonly sources: Map<string, { size: number; table: Extract<Signal, { kind: 'table' }> | null }> | null;
  private readonly outputs: readonly Signal[];

  constructor(
    private readonly network: RecurrentNetwork,
    private readonly options: SearchOptions,
  ) {
    const layerOutput = (layer: number): Signal => ({ kind: 'layer', size: outputWidth(network.layers[layer]!), layer });
    this.outputs = options.outputs ?? outputLayers(network).map(layerOutput);
    const sources = new Map<string, { size: number; table: Extract<Signal, { kind: 'table' }> | null }>();
    let free = true;
    for (const signal of [...network.layers.map((l) => l.input), ...this.outputs]) {
      walkSignal(signal, (s) => {
        if (s.kind === 'table') sources.set(s.source, { size: 1, table: s });
        if (s.kind !== 'source') return;
        sources.set(s.name, { size: s.size, table: null });
        free &&= s.operator === null;
      });
    }
    this.sources = free ? sources : null;
  }

  /** The error at a position, and how it changes with the inputs: along the number that differs most. */
  evaluate(sequence: Candidate, position: number): Evaluation {
    const { k } = this.options;
    const steps = stepsOf(sequence);
    const from = Math.max(0, position - k + 1);
    const to = Math.min(steps, position + k);
    const full = backwardRun(this.network, sequence, 0, steps);
    const part = backwardRun(this.network, sequence, from, to);
    const source = (name: string) => sequence.get(name)![position]!;
    let error = 0;
    let at: { signal: Signal; index: number; sign: number } | null = null;
    for (const signal of this.outputs) {
      const [a, b] = [full, part].map((run) => signalValue(signal, source, (layer) => run.hidden(layer, position))) as [
        Float64Array,
        Float64Array,
      ];
      a.forEach((v, index) => {
        const d = v - b[index]!;
        if (Math.abs(d) > error) {
          error = Math.abs(d);
          at = { signal, index, sign: Math.sign(d) };
        }
      });
    }
    const gradient = (): Gradient => {
      const out: Gradient = new Map([...this.sources!.keys()].map((name) => [name, new Array<null>(steps).fill(null)]));
      if (at) {
        this.pullBack(full, at.signal, at.index, at.sign, source, position, out);
        this.pullBack(part, at.signal, at.index, -at.sign, source, position, out);
      }
      return out;
    };
    return { error, gradient };
  }

  private pullBack(
    run: BackwardRun,
    signal: Signal,
    index: number,
    sign: number,
    source: (name: string) => Float64Array,
    position: number,
    out: Gradient,
  ): void {
    const add = (name: string, p: number, cotangent: Float64Array) => {
      const steps = out.get(name)!;
      const sum = (steps[p] ??= new Float64Array(cotangent.length));
      cotangent.forEach((v, i) => (sum[i] = sum[i]! + v));
    };
    const seed = new Float64Array(signal.size);
    seed[index] = sign;
    const seeds = new Map<number, Float64Array>();
    signalPullback(signal, seed, source, (layer) => run.hidden(layer, position), {
      source: (name, c) => add(name, position, c),
      table: (s, c) => add(s.source, position, c),
      layer: (layer, c) =>
        seeds.set(
          layer,
          (seeds.get(layer) ?? new Float64Array(c.length)).map((v, i) => v + c[i]!),
        ),
    });
    run.backward(position, seeds, {
      source: (p, name, c) => add(name, p, c),
      table: (p, s, c) => add(s.source, p, c),
    });
  }

  /** A step of `size`, in parts of the range, up the sign of the gradient; of tokens the share that promises most changes. */
  moved(sequence: Candidate, gradient: Gradient, size: number): Candidate {
    const out: Candidate = new Map();
    for (const [name, steps] of sequence) {
      const known = this.sources!.get(name);
      const slopes = gradient.get(name);
      if (!known || !slopes) out.set(name, steps);
      else if (known.table) out.set(name, betterTokens(steps, slopes, known.table, size));
      else {
        const { lower, upper } = this.options.range(name, known.size);
        const move = (v: number, d: number, i: number) =>
          Math.min(upper[i]!, Math.max(lower[i]!, v + size * (upper[i]! - lower[i]!) * Math.sign(d)));
        out.set(
          name,
          steps.map((x, t) => (slopes[t] ? x.map((v, i) => move(v, slopes[t]![i]!, i)) : x)),
        );
      }
    }
    return out;
  }

  inRange(sequence: Candidate): Candidate {
    for (const [name, { size, table }] of this.sources!) {
      if (table) continue;
      const { lower, upper } = this.options.range(name, size);
      const steps = sequence.get(name)!.map((x) => x.map((v, i) => Math.min(upper[i]!, Math.max(lower[i]!, v))));
      sequence.set(name, steps);
    }
    return sequence;
  }

  draw(random: () => number, length: number, held: boolean): Candidate {
    const out: Candidate = new Map();
    for (const [name, { size, table }] of this.sources!) {
      const box = table ? null : this.options.range(name, size);
      const one = () =>
        Float64Array.from({ length: size }, (_, i) =>
          box ? (random() < 0.5 ? box.lower[i]! : box.upper[i]!) : Math.floor(random() * table!.rows.rows),
        );
      const steps: Float64Array[] = [];
      for (let t = 0; t < length; t++) steps.push(held && t % 32 !== 0 ? steps[t - 1]!.slice() : one());
      out.set(name, steps);
    }
    return out;
  }
}

/** Tokens whose rows lie farthest up the gradient, at the steps where the change promises most: a linear forecast, tried before it is kept. */
function betterTokens(
  steps: readonly Float64Array[],
  slopes: readonly (Float64Array | null)[],
  { rows }: Extract<Signal, { kind: 'table' }>,
  size: number,
): Float64Array[] {
  const wishes = steps.map((token, t) => {
    const slope = slopes[t];
    if (!slope) return { token: token[0]!, gain: 0 };
    const values = product(matrix(rows.rows, rows.cols, rows.data), slope);
    const now = token[0]! < 0 ? token[0]! + rows.rows : token[0]!;
    const best = values.reduce((top, v, row) => (v > values[top]! ? row : top), now);
    return { token: best, gain: values[best]! - values[now]! };
  });
  const gains = wishes.map((w) => w.gain).sort((a, b) => b - a);
  const least = gains[Math.max(0, Math.ceil(size * gains.length) - 1)]!;
  return steps.map((token, t) => (wishes[t]!.gain > 0 && wishes[t]!.gain >= least ? Float64Array.of(wishes[t]!.token) : token));
}
