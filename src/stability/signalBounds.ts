import { absolute, type Matrix } from '../network/matrix.js';
import type { Signal, SourceSignal } from '../network/signal.js';
import { activated, activationRange, box, imageOf, pointBox, productOf, sumOf, type Box } from './interval.js';
import { upperProduct } from './reachable.js';
import { up } from './rounding.js';

/** Interval and deviation interpreters of a Signal: what values a layer's input takes, and how errors below reach it. */

/**
 * @param source range of a source
 * @param layer box of a lower layer's output
 */
export function signalBox(signal: Signal, source: (s: SourceSignal) => Box, layer: (index: number) => Box): Box {
  const of = (s: Signal): Box => {
    switch (s.kind) {
      case 'source':
        return source(s);
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

/** How far a signal can move when the outputs of the layers below move by given amounts; all entries are non-negative. */
export type Deviation = (layer: (index: number) => Float64Array) => Float64Array;

/**
 * The deviation of a signal as a function of the deviations of the layers below; null where no layer is below.
 * @param boxOf range of any part of the signal
 */
export function signalDeviation(signal: Signal, boxOf: (s: Signal) => Box): Deviation | null {
  switch (signal.kind) {
    case 'source':
      return signal.recurrent ? () => new Float64Array(signal.size).fill(Infinity) : null;
    case 'constant':
    case 'table':
      return null;
    case 'layer':
      return (layer) => layer(signal.layer);
    case 'select': {
      const from = signalDeviation(signal.from, boxOf);
      return from && ((layer) => ((d) => Float64Array.from(signal.index, (i) => d[i]!))(from(layer)));
    }
    case 'concat': {
      const parts = signal.parts.map((p) => signalDeviation(p, boxOf));
      if (parts.every((p) => p === null)) return null;
      return (layer) => Float64Array.from(parts.flatMap((p, i) => [...(p ? p(layer) : new Float64Array(signal.parts[i]!.size))]));
    }
    case 'sum': {
      const parts = signal.parts.map((p) => signalDeviation(p, boxOf)).filter((p) => p !== null);
      if (parts.length === 0) return null;
      return (layer) => parts.map((p) => p(layer)).reduce((a, b) => a.map((v, i) => up(v + b[i]!)));
    }
    case 'linear': {
      const from = signalDeviation(signal.from, boxOf);
      if (!from) return null;
      const size = absolute(signal.matrix);
      return (layer) => upperProduct(size, from(layer));
    }
    case 'scale': {
      const from = signalDeviation(signal.from, boxOf);
      return from && ((layer) => from(layer).map((v, i) => (signal.factors[i] === 0 ? 0 : up(v * Math.abs(signal.factors[i]!)))));
    }
    case 'activation': {
      const from = signalDeviation(signal.from, boxOf);
      if (!from) return null;
      const range = boxOf(signal.from);
      const slopes = range.lower.map((low, i) => {
        const [a, b] = activationRange(signal.activation, low, range.upper[i]!).slope;
        return Math.max(Math.abs(a), Math.abs(b));
      });
      return (layer) => from(layer).map((v, i) => (slopes[i] === 0 ? 0 : up(v * slopes[i]!)));
    }
  }
}
