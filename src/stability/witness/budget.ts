/** What a search may cost and has cost, in multiplications. */
export class Budget {
  #spent = 0;

  constructor(readonly limit: number) {}

  spend(multiplications: number): void {
    this.#spent += multiplications;
  }

  /** From 0 to 1. */
  get share(): number {
    return Math.min(1, this.#spent / this.limit);
  }
}
