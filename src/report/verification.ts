/** What comparing an exported model with its original in ONNX Runtime showed. Errors are maxima of absolute differences. */
export interface Verification {
  /** Context in steps. */
  length: number;
  /** Where the length comes from. `full` is the checkpoint's whole fixed sequence, so nothing was truncated. */
  basis: 'certified' | 'samples' | 'synthetic' | 'full' | 'user';
  /** Error of the recurrent output on sequences longer than the window; null where the original takes none longer. */
  recurrentError: number | null;
  /** The certified bound where the report has its ε, at the recurrent output or at the model's own; null where there is none. */
  bound: number | null;
  /** Error at the model's own outputs on sequences longer than the window; null where the original takes none longer. */
  outputError: number | null;
  /** Error on sequences exactly as long as the window, which is rounding only; null where the original takes none. */
  exactError: number | null;
  /** How many windows were compared, and what they were cut from. */
  windows: number;
  source: 'samples' | 'synthetic';
  /** Size of the written file and number of its nodes. */
  bytes: number;
  nodes: number;
  /** True when no recurrent error exceeds the bound (where there is one) and the exact error is rounding. */
  passed: boolean;
  /** One sentence for people. */
  summary: string;
}
