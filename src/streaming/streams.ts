import { elementCount, isFloat } from '../checkpoint/onnx/tensor.js';
import { badSamples, type NamedArray, type SampleArray } from '../samples/sampleArray.js';
import { seededRandom } from '../samples/random.js';
import { sourceBox, type InputRange } from '../stability/networkBounds.js';
import type { Frame } from './stateMap.js';
import type { Port, StreamingModel } from './streamingModel.js';

/** Sequences of frames for a streaming model: the user's, or synthetic ones. */
export type Stream = readonly Frame[];

/**
 * Seeded synthetic streams of the stated range: of every three one is white noise, one a slow random walk and one
 * bursts between silence, because truncation shows different faces to each.
 */
export function syntheticStreams(
  { frames }: StreamingModel,
  range: InputRange,
  sequences: number,
  steps: number,
  seed: number,
): Stream[] {
  const random = seededRandom(seed);
  return Array.from({ length: sequences }, (_, sequence) => {
    const last = new Map<string, Float64Array>();
    return Array.from({ length: steps }, (_, t): Frame => {
      const loud = Math.floor(t / 12) % 2 === 0;
      const frame = new Map(
        frames.map((port) => {
          const size = elementCount(port.dims);
          if (!isFloat(port.type)) return [port.name, new Float64Array(size)] as const;
          const before = last.get(port.name);
          const values = Float64Array.from({ length: size }, (_, i) => {
            const noise = 2 * random() - 1;
            if (sequence % 3 === 0) return noise;
            if (sequence % 3 === 1) return Math.max(-1, Math.min(1, (before?.[i] ?? noise) + 0.2 * noise));
            return loud ? noise : 0.01 * noise;
          });
          last.set(port.name, values);
          const { lower, upper } = sourceBox(range, port.name, size);
          return [port.name, values.map((v, i) => (lower[i]! + upper[i]! + (upper[i]! - lower[i]!) * v) / 2)] as const;
        }),
      );
      return frame;
    });
  });
}

/**
 * The user's samples as streams. For an input of shape [d₀, d₁, …] an array holds
 *   [sequences, frames, d₀, d₁, …] or [frames, d₀, d₁, …], the frames as they are fed, or
 *   [sequences · d₀, …, frames · dᵢ, …], frames behind each other along one axis, as audio and spectra are stored.
 * @throws BadInputError when an array is missing or does not fit
 */
export function sampleStreams({ frames }: StreamingModel, samples: readonly NamedArray[], file: string): Stream[] {
  const bad = (message: string) => badSamples(`${file}: ${message}`);
  const cut = frames.map((port) => {
    const named = samples.filter(({ name, stem }) => name === port.name || stem === port.name);
    const arrays =
      named.length > 0 || frames.length > 1 ? named : samples.filter((a, _, all) => all.length === 1 || a.name === '');
    const shape = `[${port.dims.join(', ')}]`;
    if (arrays.length === 0) {
      throw bad(
        `no array named "${port.name}" with frames of shape ${shape}; it holds ${samples.map(({ name }) => `"${name}"`).join(', ')}`,
      );
    }
    const sequences = arrays.flatMap((array) => {
      const cut = cutFrames(port, array);
      if (cut) return cut;
      throw badSamples(
        `${array.where}: array "${port.name}" has shape [${array.dims.join(', ')}]; frames have shape ${shape}, so give [sequences, frames, ${port.dims.join(', ')}], or frames behind each other along one axis`,
      );
    });
    return { port, sequences };
  });
  const [first] = cut;
  if (!first) return [];
  for (const { port, sequences } of cut) {
    const same =
      sequences.length === first.sequences.length && sequences.every((s, i) => s.length === first.sequences[i]!.length);
    if (!same) throw bad(`arrays "${first.port.name}" and "${port.name}" hold different numbers of sequences or frames`);
  }
  return first.sequences.map((s, n) =>
    s.map((_, t): Frame => new Map(cut.map(({ port, sequences }) => [port.name, sequences[n]![t]!]))),
  );
}

/** [sequence][frame] → values; null where the array does not hold frames of this shape. */
function cutFrames(port: Port, array: SampleArray): Float64Array[][] | null {
  const { dims } = port;
  const size = elementCount(dims);
  const extra = array.dims.length - dims.length;
  const endsAlike = dims.every((d, i) => array.dims[extra + i] === d);
  if ((extra === 1 || extra === 2) && endsAlike) {
    const steps = array.dims[extra - 1]!;
    const sequences = extra === 2 ? array.dims[0]! : 1;
    const at = (n: number, t: number) => array.data.subarray((n * steps + t) * size, (n * steps + t + 1) * size);
    return Array.from({ length: sequences }, (_, n) => Array.from({ length: steps }, (_, t) => at(n, t)));
  }
  if (extra !== 0) return null;
  const longer = dims.flatMap((d, axis) => (array.dims[axis]! !== d ? [axis] : []));
  // The first axis counts sequences where another one holds the frames.
  const axis = longer.find((a) => a > 0) ?? 0;
  if (longer.some((a) => a !== axis && a !== 0)) return null;
  const sequences = axis === 0 ? 1 : array.dims[0]! / dims[0]!;
  const steps = Math.floor(array.dims[axis]! / dims[axis]!);
  if (!Number.isInteger(sequences) || steps < 1) return null;
  const stride = array.dims.map((_, i) => elementCount(array.dims.slice(i + 1)));
  return Array.from({ length: sequences }, (_, n) =>
    Array.from({ length: steps }, (_, t) => {
      const values = new Float64Array(size);
      const at = dims.map(() => 0);
      for (let i = 0; i < size; i++) {
        values[i] =
          array.data[
            at.reduce(
              (sum, c, a) =>
                sum + (c + (a === axis ? t * dims[a]! : 0) + (a === 0 && axis !== 0 ? n * dims[0]! : 0)) * stride[a]!,
              0,
            )
          ]!;
        for (let a = dims.length - 1; a >= 0 && ++at[a]! >= dims[a]!; a--) at[a] = 0;
      }
      return values;
    }),
  );
}
