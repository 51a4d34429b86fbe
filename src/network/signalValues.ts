import { product } from './matrix.js';
import type { Signal } from './signal.js';

/**
 * Value of a signal at one time step.
 * @param source value of a named source at this step: features, or one token index for a table
 * @param layer output of a layer below at this step
 */
export function signalValue(
  signal: Signal,
  source: (name: string) => Float64Array,
  layer: (index: number) => Float64Array,
): Float64Array {
  const value = (s: Signal): Float64Array => {
    switch (s.kind) {
      case 'source':
        return source(s.name);
      case 'layer':
        return layer(s.layer);
      case 'constant':
        return s.value;
      case 'table': {
        const rows = s.rows.rows;
        const token = source(s.source)[0]!;
        const row = token < 0 ? token + rows : token;
        return s.rows.data.subarray(row * s.size, (row + 1) * s.size);
      }
      case 'select': {
        const from = value(s.from);
        return Float64Array.from(s.index, (i) => from[i]!);
      }
      case 'concat': {
        const out = new Float64Array(s.size);
        let offset = 0;
        for (const part of s.parts) {
          out.set(value(part), offset);
          offset += part.size;
        }
        return out;
      }
      case 'sum': {
        const out = new Float64Array(s.size);
        for (const part of s.parts) value(part).forEach((v, i) => (out[i] = out[i]! + v));
        return out;
      }
      case 'linear':
        return product(s.matrix, value(s.from));
      case 'scale':
        return value(s.from).map((v, i) => v * s.factors[i]!);
      case 'activation':
        return value(s.from).map((v) => s.activation.value(v));
      case 'product': {
        const [a, b] = s.parts.map(value) as [Float64Array, Float64Array];
        return a.map((v, i) => v * b[i]!);
      }
      case 'softmax':
        return softmax(value(s.from), s.log);
      case 'normalised': {
        return normalised(value(s.from), s.epsilon).map((v, i) => v * s.scale[i]! + s.shift[i]!);
      }
    }
  };
  return value(signal);
}

function softmax(x: Float64Array, log: boolean): Float64Array {
  const top = x.reduce((a, b) => Math.max(a, b), -Infinity);
  const sum = x.reduce((total, v) => total + Math.exp(v - top), 0);
  return x.map((v) => (log ? v - top - Math.log(sum) : Math.exp(v - top) / sum));
}

function normalised(x: Float64Array, epsilon: number): Float64Array {
  const mean = x.reduce((a, b) => a + b, 0) / x.length;
  const variance = x.reduce((sum, v) => sum + (v - mean) ** 2, 0) / x.length;
  const deviation = Math.sqrt(variance + epsilon);
  return x.map((v) => (v - mean) / deviation);
}
