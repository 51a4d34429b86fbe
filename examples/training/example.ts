/** A trained checkpoint, ready to be written and checked. */
export interface Example {
  /** File name without its endings. */
  readonly name: string;
  readonly onnx: Uint8Array;
  /** The same model as a TF.js checkpoint, by file name. */
  readonly tfjs?: ReadonlyMap<string, Uint8Array>;
  /** The .npz of held-out sequences. */
  readonly samples: Uint8Array;
  /** The graph's output. */
  readonly output: string;
  /** What the TF.js model answers on all samples, in the layout of that output. */
  readonly answers: Float32Array;
  /** Losses and baselines in words. */
  readonly results: Readonly<Record<string, number>>;
}
