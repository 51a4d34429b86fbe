/** What drives a model from its initial state: one vector of features a step for every source. */
export interface History {
  readonly steps: number;
  /** null for a source that it says nothing of. */
  at(source: string, t: number): Float64Array | null;
}
