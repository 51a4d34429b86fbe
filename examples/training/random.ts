import { seededRandom } from '../../src/samples/random.js';

/** Seeded draws for data and initial weights: the same seed gives the same numbers, hence the same files. */
export class Random {
  private readonly next: () => number;

  constructor(seed: number) {
    this.next = seededRandom(seed);
  }

  uniform(low: number, high: number): number {
    return low + (high - low) * this.next();
  }

  /** An integer from 0 up to, not including, `end`. */
  integer(end: number): number {
    return Math.floor(this.next() * end);
  }

  /** Standard normal (Box and Muller). */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.next())) * Math.cos(2 * Math.PI * this.next());
  }

  uniforms(count: number, bound: number): Float32Array {
    return Float32Array.from({ length: count }, () => this.uniform(-bound, bound));
  }
}
