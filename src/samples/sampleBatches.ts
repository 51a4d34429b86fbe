import { joinedAlong, type Tensor } from '../checkpoint/onnx/tensor.js';
import { concreteDims, type InputAxes, type InputBatch, type ModelInput } from './modelInputs.js';
import { badSamples, type NamedArray } from './sampleArray.js';

/** One array in the axes of its input: some sequences of equal length. */
interface Piece {
  readonly where: string;
  readonly tensor: Tensor;
  readonly sequences: number;
  readonly steps: number;
}

/**
 * The user's samples as batches, one for every length that sequences have. An array has the shape of its input with any
 * number of sequences, or is a single sequence without the batch axis, or a table of steps × features.
 * @throws BadInputError bad-samples when an array is missing or does not fit
 */
export function sampleBatches(axes: InputAxes, arrays: readonly NamedArray[], file: string): InputBatch[] {
  const carriers = axes.inputs.filter((input) => input.timeAxis !== null);
  const byInput = assign(axes, carriers, arrays, file);
  const pieces = carriers.map((input) => byInput.get(input.name)!.map((array) => pieceOf(input, array)));
  const first = pieces[0] ?? [];
  for (const [c, others] of pieces.entries()) {
    const same = others.length === first.length && others.every((p, i) => p.sequences === first[i]!.sequences);
    if (!same)
      throw badSamples(
        `${file}: input "${carriers[c]!.name}" has ${sum(others)} sequences and input "${carriers[0]!.name}" ${sum(first)}`,
      );
    others.forEach((p, i) => {
      if (p.steps !== first[i]!.steps)
        throw badSamples(`${p.where} has ${p.steps} steps and ${first[i]!.where}, which goes with it, ${first[i]!.steps}`);
    });
  }
  const groups = new Map<string, number[]>();
  first.forEach(({ steps }, i) => {
    // Without a batch axis every sequence is a run of its own.
    const key = carriers.some((input) => input.batchAxis === null) ? `${steps} ${i}` : String(steps);
    groups.set(key, [...(groups.get(key) ?? []), i]);
  });
  return [...groups.values()].map((members) => {
    const sequences = members.reduce((n, i) => n + first[i]!.sequences, 0);
    const steps = first[members[0]!]!.steps;
    const feeds = new Map<string, Tensor>();
    carriers.forEach((input, c) => {
      const [one, ...rest] = members.map((i) => pieces[c]![i]!.tensor) as [Tensor, ...Tensor[]];
      feeds.set(input.name, rest.length === 0 ? one : joinedAlong([one, ...rest], input.batchAxis!));
    });
    for (const input of axes.inputs) {
      if (feeds.has(input.name)) continue;
      const dims = concreteDims(input, sequences, steps);
      const data = new Float64Array(dims.reduce((a, b) => a * b, 1));
      const given = byInput.get(input.name)?.[0];
      if (given?.data.length === data.length) data.set(given.data);
      else if (input.isLength) data.fill(steps);
      feeds.set(input.name, { type: input.type, dims, data });
    }
    return { feeds, sequences, steps };
  });
}

const sum = (pieces: readonly Piece[]) => pieces.reduce((n, p) => n + p.sequences, 0);

/** Which arrays are for which input: by name, by the number in input_N, or, for the only sequence input, all without a name. */
function assign(
  axes: InputAxes,
  carriers: readonly ModelInput[],
  arrays: readonly NamedArray[],
  file: string,
): Map<string, readonly NamedArray[]> {
  const inputOf = (name: string) =>
    axes.inputs.find((input) => input.name === name) ?? axes.inputs[Number(/^input_(\d+)$/.exec(name)?.[1] ?? NaN)];
  const named = new Map<string, NamedArray[]>();
  const rest: NamedArray[] = [];
  for (const array of arrays) {
    const input = inputOf(array.name) ?? inputOf(array.stem ?? '');
    if (input) named.set(input.name, [...(named.get(input.name) ?? []), array]);
    // The expected outputs of a test data set.
    else if (!/^output_\d+$/.test(array.stem ?? '')) rest.push(array);
  }
  const [only] = carriers;
  // One array of another name can mean nothing else; among several, those that stand beside a named one are not inputs.
  if (carriers.length === 1 && !named.has(only!.name)) {
    const unnamed = rest.length === 1 ? rest : rest.filter((array) => array.name === '');
    if (unnamed.length > 0) named.set(only!.name, unnamed);
  }
  for (const input of carriers) {
    if (named.has(input.name)) continue;
    const holds = arrays.map(({ name, dims }) => `"${name}" [${dims.join(', ')}]`).slice(0, 8);
    throw badSamples(`${file}: no array named "${input.name}" with shape ${shapeInWords(input)}; it holds ${holds.join(', ')}`);
  }
  return named;
}

function shapeInWords({ dims, batchAxis, timeAxis }: ModelInput): string {
  const words = dims.map((d, axis) => (axis === batchAxis ? 'sequences' : axis === timeAxis ? (d ?? 'time') : (d ?? '?')));
  return `[${words.join(', ')}]`;
}

function pieceOf(input: ModelInput, array: NamedArray): Piece {
  const { where } = array;
  const tensor = fitted(input, array);
  if (!tensor) {
    throw badSamples(
      `${where}: array "${input.name}" has shape [${array.dims.join(', ')}], the model's input is ${shapeInWords(input)}`,
    );
  }
  const limit = input.tokens;
  if (limit !== null) {
    const outside = tensor.data.find((v) => !Number.isInteger(v) || v < -limit || v >= limit);
    if (outside !== undefined) throw badSamples(`${where} holds the token ${outside}; the embedding has ${limit} rows`);
  }
  const sequences = input.batchAxis === null ? 1 : tensor.dims[input.batchAxis]!;
  return { where, tensor, sequences, steps: tensor.dims[input.timeAxis!]! };
}

/** The array in the input's axes; null where it does not fit. */
function fitted(input: ModelInput, { dims, data, table }: NamedArray): Tensor | null {
  const { batchAxis, timeAxis, type } = input;
  const fits = (candidate: readonly number[]) =>
    candidate.length === input.dims.length &&
    candidate.every((d, axis) => axis === batchAxis || input.dims[axis] === null || input.dims[axis] === d);
  if (!table && fits(dims)) return { type, dims, data };
  const single = batchAxis === null ? dims : [...dims.slice(0, batchAxis), 1, ...dims.slice(batchAxis)];
  if (!table && fits(single)) return { type, dims: single, data };
  if (dims.length !== 2) return null;
  // Steps × features: the features fill the other axes in their order.
  const [steps, features] = dims as [number, number];
  const free = input.dims.flatMap((d, axis) => (axis !== batchAxis && axis !== timeAxis && d === null ? [axis] : []));
  const target = input.dims.map((d, axis) =>
    axis === batchAxis ? 1 : axis === timeAxis ? steps : (d ?? (free.length === 1 ? features : 1)),
  );
  if (!fits(target) || target.reduce((a, b) => a * b, 1) !== data.length) return null;
  const inner = target.slice(timeAxis! + 1).reduce((a, b) => a * b, 1);
  const placed = data.map((_, i) => {
    const step = Math.floor(i / inner) % steps;
    const feature = Math.floor(i / (inner * steps)) * inner + (i % inner);
    return data[step * features + feature]!;
  });
  return { type, dims: target, data: placed };
}
