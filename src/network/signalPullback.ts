import { addTransposedProduct } from './matrix.js';
import type { Signal } from './signal.js';
import { signalValue } from './signalValues.js';

/** Takes the cotangents of the parts of a signal: what each means for the value that is differentiated. */
export interface SignalCotangents {
  source(name: string, cotangent: Float64Array): void;
  /** @param cotangent of the row that the token chose */
  table(signal: Extract<Signal, { kind: 'table' }>, cotangent: Float64Array): void;
  layer(index: number, cotangent: Float64Array): void;
}

/**
 * The derivative of a signal, transposed, at one time step.
 * @param source, layer values as signalValue takes them
 */
export function signalPullback(
  signal: Signal,
  cotangent: Float64Array,
  source: (name: string) => Float64Array,
  layer: (index: number) => Float64Array,
  into: SignalCotangents,
): void {
  const value = (s: Signal) => signalValue(s, source, layer);
  const pull = (s: Signal, d: Float64Array): void => {
    switch (s.kind) {
      case 'source':
        return into.source(s.name, d);
      case 'layer':
        return into.layer(s.layer, d);
      case 'constant':
        return;
      case 'table':
        return into.table(s, d);
      case 'select': {
        const from = new Float64Array(s.from.size);
        s.index.forEach((i, j) => (from[i] = from[i]! + d[j]!));
        return pull(s.from, from);
      }
      case 'concat': {
        let offset = 0;
        for (const part of s.parts) pull(part, d.subarray(offset, (offset += part.size)));
        return;
      }
      case 'sum':
        for (const part of s.parts) pull(part, d);
        return;
      case 'linear': {
        const from = new Float64Array(s.from.size);
        addTransposedProduct(s.matrix, d, from);
        return pull(s.from, from);
      }
      case 'scale':
        return pull(
          s.from,
          d.map((v, i) => v * s.factors[i]!),
        );
      case 'activation': {
        const x = value(s.from);
        return pull(
          s.from,
          d.map((v, i) => v * s.activation.slope(x[i]!)),
        );
      }
      case 'product': {
        const [a, b] = s.parts.map(value) as [Float64Array, Float64Array];
        pull(
          s.parts[0],
          d.map((v, i) => v * b[i]!),
        );
        return pull(
          s.parts[1],
          d.map((v, i) => v * a[i]!),
        );
      }
      case 'softmax': {
        const p = s.log ? value(s).map(Math.exp) : value(s);
        const along = d.reduce((sum, v, i) => sum + v * (s.log ? 1 : p[i]!), 0);
        return pull(
          s.from,
          p.map((v, i) => (s.log ? d[i]! - v * along : v * (d[i]! - along))),
        );
      }
      case 'normalised': {
        const x = value(s.from);
        const mean = x.reduce((a, b) => a + b, 0) / x.length;
        const sigma = Math.sqrt(x.reduce((sum, v) => sum + (v - mean) ** 2, 0) / x.length + s.epsilon);
        const normal = x.map((v) => (v - mean) / sigma);
        const scaled = d.map((v, i) => v * s.scale[i]!);
        const average = scaled.reduce((a, b) => a + b, 0) / x.length;
        const along = scaled.reduce((sum, v, i) => sum + v * normal[i]!, 0) / x.length;
        return pull(
          s.from,
          scaled.map((v, i) => (v - average - normal[i]! * along) / sigma),
        );
      }
    }
  };
  pull(signal, cotangent);
}
