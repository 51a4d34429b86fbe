import type { CausalSystem } from '../../network/causalSystem.js';
import type { Box } from '../interval.js';

/** The inputs that a search for a witness tries, as a person would: the simple ones first. All repeat a short pattern. */
export class TriedInputs {
  constructor(
    private readonly system: CausalSystem,
    private readonly range: Box,
    private readonly random: () => number,
  ) {}

  /** What two histories are made of. */
  prefixes(): Float64Array[][] {
    return [
      [this.#held(0)],
      [this.#held(1)],
      [this.#rest()],
      ...Array.from({ length: 4 }, () => [this.#corner()]),
      [this.#scattered(1)],
      [this.#scattered(0.3)],
      [this.#held(0), this.#held(1)],
      [this.#corner(), this.#corner()],
      ...[4, 8, 8].map((length) => Array.from({ length }, () => this.#scattered(1))),
    ];
  }

  /** What follows both. */
  *commons(): Generator<Float64Array[]> {
    const [rest, middle] = [this.#rest(), this.#held(0.5)];
    yield [rest];
    if (rest.some((v, i) => v !== middle[i])) yield [middle];
    for (const share of [1, 0]) yield [this.#held(share)];
    for (let round = 0; round < 7; round++) {
      for (const scale of [1, 0.1, 0.4]) yield [this.#scattered(scale)];
      yield [this.#scattered(1), this.#scattered(1)];
      yield [this.#corner()];
    }
  }

  #held(share: number): Float64Array {
    return this.#at(() => share);
  }

  /** Zero where the range has it, else its middle. */
  #rest(): Float64Array {
    const { lower, upper } = this.range;
    return this.#at((i) => (lower[i]! < 0 && upper[i]! > 0 ? -lower[i]! / (upper[i]! - lower[i]!) : 0.5));
  }

  #corner(): Float64Array {
    return this.#at(() => (this.random() < 0.5 ? 0 : 1));
  }

  /** @param scale share of the range around its middle */
  #scattered(scale: number): Float64Array {
    return this.#at(() => 0.5 + scale * (this.random() - 0.5));
  }

  /** @param share of the range, from 0 to 1 */
  #at(share: (i: number) => number): Float64Array {
    const out = new Float64Array(this.system.inputSize);
    for (const { offset, size, tokens } of this.system.sources) {
      for (let i = offset; i < offset + size; i++) {
        const [low, high] = [this.range.lower[i]!, this.range.upper[i]!];
        const value = low + share(i) * (high - low);
        out[i] = tokens === null ? Math.min(high, Math.max(low, rounded(value))) : Math.round(value);
      }
    }
    return out;
  }
}

/** Four digits: a witness is read by people too. */
function rounded(value: number): number {
  return Number(value.toPrecision(4));
}
