import { seededRandom } from '../../src/samples/random.js';

/** Seeded random choices: every failure can be made again from the seed in the test's name. */
export class Random {
  readonly next: () => number;

  constructor(seed: number) {
    this.next = seededRandom(seed);
    // Neighbouring seeds give alike first numbers.
    for (let i = 0; i < 4; i++) this.next();
  }

  uniform(low: number, high: number): number {
    return low + (high - low) * this.next();
  }

  /** An integer from low to high, both included. */
  int(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1));
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.int(0, from.length - 1)]!;
  }

  /** Spread evenly over orders of magnitude. */
  logarithmic(low: number, high: number): number {
    return Math.exp(this.uniform(Math.log(low), Math.log(high)));
  }

  vector(size: number, low = -1, high = 1): Float64Array {
    return Float64Array.from({ length: size }, () => this.uniform(low, high));
  }

  /** The same, already rounded to float32, so that a float32 file loses nothing. */
  floats(size: number, low = -1, high = 1): Float64Array {
    return Float64Array.from({ length: size }, () => Math.fround(this.uniform(low, high)));
  }
}
