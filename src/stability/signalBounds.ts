import { absolute, type Matrix } from '../network/matrix.js';
import type { Signal, SourceSignal } from '../network/signal.js';
import { activated, activationRange, box, imageOf, magnitude, pointBox, productOf, sumOf, times, type Box } from './interval.js';
import { upperProduct } from './reachable.js';
import { gamma, up } from './rounding.js';

/** Interval and deviation interpreters of a Signal: what values a layer's input takes, and how errors below reach it. */

/**
 * @param source range of a source
 * @param layer box of a lower layer's output
 */
export function signalBox(signal: Signal, source: (s: SourceSignal) => Box, layer: (index: number) => Box): Box {
  // Parts that are read twice are computed once: a chain of sums would double the work at every link.
  const known = new Map<Signal, Box>();
  const of = (s: Signal): Box => {
    const value = known.get(s) ?? compute(s);
    known.set(s, value);
    return value;
  };
  const compute = (s: Signal): Box => {
    switch (s.kind) {
      case 'source':
        return s.within ? of(s.within) : source(s);
      case 'layer':
        return layer(s.layer);
      case 'constant':
        return pointBox(s.value);
      case 'table':
        return columnRange(s.rows);
      case 'select': {
        const from = of(s.from);
        return {
          lower: Float64Array.from(s.index, (i) => from.lower[i]!),
          upper: Float64Array.from(s.index, (i) => from.upper[i]!),
        };
      }
      case 'concat': {
        const parts = s.parts.map(of);
        return {
          lower: Float64Array.from(parts.flatMap((p) => [...p.lower])),
          upper: Float64Array.from(parts.flatMap((p) => [...p.upper])),
        };
      }
      case 'sum':
        return s.parts.map(of).reduce(sumOf, box(s.size));
      case 'linear':
        return imageOf(s.matrix, of(s.from));
      case 'scale':
        return productOf(pointBox(s.factors), of(s.from));
      case 'activation':
        return activated(s.activation, of(s.from));
      case 'product':
        return productOf(of(s.parts[0]), of(s.parts[1]));
      case 'softmax':
        return softmaxBox(of(s.from), s.log);
      case 'normalised':
        return sumOf(productOf(pointBox(s.scale), normalisedBox(s.size)), pointBox(s.shift));
    }
  };
  return of(signal);
}

function columnRange(rows: Matrix): Box {
  const lower = new Float64Array(rows.cols).fill(Infinity);
  const upper = new Float64Array(rows.cols).fill(-Infinity);
  for (let p = 0; p < rows.data.length; p++) {
    const c = p % rows.cols;
    lower[c] = Math.min(lower[c]!, rows.data[p]!);
    upper[c] = Math.max(upper[c]!, rows.data[p]!);
  }
  return { lower, upper };
}

/** pᵢ = 1 / (1 + Σ_{j≠i} exp(xⱼ − xᵢ)) falls with every xⱼ and rises with xᵢ, so ends of the box attain both extremes. */
function softmaxBox(x: Box, log: boolean): Box {
  const n = x.lower.length;
  const share = (i: number, own: Float64Array, others: Float64Array) => {
    let sum = 1;
    for (let j = 0; j < n; j++) if (j !== i) sum += Math.exp(others[j]! - own[i]!);
    return 1 / sum;
  };
  const slack = 4 * gamma(n + 16);
  const ends = (i: number): [number, number] => {
    const low = share(i, x.lower, x.upper) * (1 - slack);
    const high = Math.min(1, share(i, x.upper, x.lower) * (1 + slack) + Number.MIN_VALUE);
    // Two infinite ends have no difference, and then nothing is known.
    const [from, to] = [low >= 0 ? low : 0, high <= 1 ? high : 1];
    if (!log) return [from, to];
    const outward = (value: number) => Math.abs(value) * 1e-14 + 1e-14;
    return [Math.log(from) - outward(Math.log(from)), Math.min(0, Math.log(to) + outward(Math.log(to)))];
  };
  const all = Array.from({ length: n }, (_, i) => ends(i));
  return { lower: Float64Array.from(all, (e) => e[0]), upper: Float64Array.from(all, (e) => e[1]) };
}

/** Numbers of mean 0 and mean square at most 1: none exceeds √(n − 1). */
function normalisedBox(n: number): Box {
  const largest = up(Math.sqrt(Math.max(0, n - 1)));
  return box(n, -largest, largest);
}

/**
 * A lower bound of the variance of points of a box: variance is the least mean square distance from any number c, so its least
 * value over the box is that of the distances of c from the intervals, which is convex in c.
 */
function smallestVariance({ lower, upper }: Box): number {
  let [from, to] = [lower.reduce((a, b) => Math.min(a, b)), upper.reduce((a, b) => Math.max(a, b))];
  const width = to - from;
  if (!Number.isFinite(width)) return 0;
  const at = (c: number) => lower.reduce((sum, low, i) => sum + Math.max(0, low - c, c - upper[i]!) ** 2, 0) / lower.length;
  for (let i = 0; i < 100; i++) {
    const [left, right] = [from + (to - from) / 3, to - (to - from) / 3];
    if (at(left) < at(right)) to = right;
    else from = left;
  }
  return Math.max(0, at((from + to) / 2) - 1e-12 * width * width);
}

/** How far a signal can move when the outputs of the layers below move by given amounts; all entries are non-negative. */
export type Deviation = (layer: (index: number) => Float64Array) => Float64Array;

/**
 * The deviation of a signal as a function of the deviations of the layers below; null where no layer is below.
 * @param boxOf range of any part of the signal
 */
export function signalDeviation(signal: Signal, boxOf: (s: Signal) => Box): Deviation | null {
  const boxes = new Map<Signal, Box>();
  const known = new Map<Signal, Deviation | null>();
  const knownBox = (s: Signal): Box => {
    const value = boxes.get(s) ?? boxOf(s);
    boxes.set(s, value);
    return value;
  };
  const of = (s: Signal): Deviation | null => {
    if (!known.has(s)) known.set(s, onceForEach(deviationOf(s, of, knownBox)));
    return known.get(s)!;
  };
  return of(signal);
}

/** What is read twice is computed once for the same deviations below. */
function onceForEach(deviation: Deviation | null): Deviation | null {
  if (!deviation) return null;
  let last: Parameters<Deviation>[0] | null = null;
  let value = new Float64Array();
  return (layer) => {
    if (layer !== last) {
      value = Float64Array.from(deviation(layer));
      last = layer;
    }
    return value;
  };
}

function deviationOf(signal: Signal, of: (s: Signal) => Deviation | null, boxOf: (s: Signal) => Box): Deviation | null {
  switch (signal.kind) {
    case 'source':
      return signal.recurrent ? () => new Float64Array(signal.size).fill(Infinity) : null;
    case 'constant':
    case 'table':
      return null;
    case 'layer':
      return (layer) => layer(signal.layer);
    case 'select': {
      const from = of(signal.from);
      return from && ((layer) => ((d) => Float64Array.from(signal.index, (i) => d[i]!))(from(layer)));
    }
    case 'concat': {
      const parts = signal.parts.map((p) => of(p));
      if (parts.every((p) => p === null)) return null;
      return (layer) => Float64Array.from(parts.flatMap((p, i) => [...(p ? p(layer) : new Float64Array(signal.parts[i]!.size))]));
    }
    case 'sum': {
      const parts = signal.parts.map((p) => of(p)).filter((p) => p !== null);
      if (parts.length === 0) return null;
      return (layer) => parts.map((p) => p(layer)).reduce((a, b) => a.map((v, i) => up(v + b[i]!)));
    }
    case 'linear': {
      const from = of(signal.from);
      if (!from) return null;
      const size = absolute(signal.matrix);
      return (layer) => upperProduct(size, from(layer));
    }
    case 'scale': {
      const from = of(signal.from);
      return from && ((layer) => from(layer).map((v, i) => (signal.factors[i] === 0 ? 0 : up(v * Math.abs(signal.factors[i]!)))));
    }
    case 'activation': {
      const from = of(signal.from);
      if (!from) return null;
      const range = boxOf(signal.from);
      const slopes = range.lower.map((low, i) => {
        const [a, b] = activationRange(signal.activation, low, range.upper[i]!).slope;
        return Math.max(Math.abs(a), Math.abs(b));
      });
      return (layer) => from(layer).map((v, i) => (slopes[i] === 0 ? 0 : up(v * slopes[i]!)));
    }
    case 'product': {
      // a b − a′b′ = a (b − b′) + b′ (a − a′).
      const [a, b] = signal.parts.map((p) => of(p));
      if (!a && !b) return null;
      const [sizeA, sizeB] = signal.parts.map((p) => magnitude(boxOf(p))) as [Float64Array, Float64Array];
      return (layer) => {
        const [da, db] = [a?.(layer), b?.(layer)];
        return sizeA.map((v, i) => up(times(v, db?.[i] ?? 0) + times(sizeB[i]!, da?.[i] ?? 0)));
      };
    }
    case 'softmax': {
      // dpᵢ = pᵢ ((1 − pᵢ) dxᵢ − Σ_{j≠i} pⱼ dxⱼ), and the pⱼ of the others sum to 1 − pᵢ; without the first factor for its logarithm.
      const from = of(signal.from);
      if (!from) return null;
      const share = softmaxBox(boxOf(signal.from), false);
      const factors = share.lower.map((low, i) => {
        if (signal.log) return up(1 - low);
        const high = share.upper[i]!;
        const at = low > 0.5 ? low : high < 0.5 ? high : 0.5;
        return up(at * (1 - at));
      });
      return (layer) => {
        const d = from(layer);
        return factors.map((factor, i) => {
          const others = d.reduce((most, v, j) => (j === i ? most : Math.max(most, v)), 0);
          return up(times(factor, d[i]! + others));
        });
      };
    }
    case 'normalised': {
      // With n the normalised values, dnᵢ = (dxᵢ − mean(dx) − nᵢ mean(n dx)) / σ. The factor of dxᵢ lies in [0, 1/σ], and
      // |nᵢ| mean|n dx| ≤ √N · ‖n‖₂ ‖dx‖₂ / N ≤ ‖dx‖₂.
      const from = of(signal.from);
      if (!from) return null;
      const n = signal.size;
      const sigma = Math.sqrt(signal.epsilon + smallestVariance(boxOf(signal.from))) * (1 - 1e-12);
      return (layer) => {
        const d = from(layer);
        const spread = d.reduce((a, b) => a + b, 0) / n + Math.hypot(...d);
        return d.map((v, i) => (signal.scale[i] === 0 ? 0 : up((Math.abs(signal.scale[i]!) * (v + spread)) / sigma, n + 16)));
      };
    }
  }
}
