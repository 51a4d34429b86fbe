import { BadInputError } from '../errors.js';

/** Numbers with a shape, widened to float64. */
export interface SampleArray {
  readonly dims: readonly number[];
  readonly data: Float64Array;
}

/** An array as a file of samples holds it. */
export interface NamedArray extends SampleArray {
  /** The model's input that it is for, as far as the file says; '' where it does not. */
  readonly name: string;
  /** Name of its file without the extension, where it is one of several. */
  readonly stem?: string;
  /** File and place in it, for messages. */
  readonly where: string;
  /** True for rows of numbers, one row per step: the features of a step are flat, whatever axes the input has for them. */
  readonly table?: boolean;
}

export function badSamples(message: string): BadInputError {
  return new BadInputError('bad-samples', message);
}
