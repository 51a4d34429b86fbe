import type { StabilityReport } from '../report/report.js';
import type { Verification } from '../report/verification.js';
import type { InputRange } from '../stability/networkBounds.js';

/** The jobs that the command line, the worker thread and the tests run. Everything here can be cloned between threads. */

export interface CheckOptions {
  /** Allowed error (max absolute) at the place that `at` names. */
  epsilon: number;
  /** Where the error is measured and bounded: the recurrent layers' output, or the model's own float outputs. */
  at: 'recurrent' | 'output';
  /** Range of the model's float inputs; `samples`: as far as the samples reach; absent: derived from the graph, else [-1, 1]. */
  inputRange?: InputRange | 'samples';
  /** Longest truncation length that is considered. */
  maxLength: number;
  confidence: number;
  quantile: number;
  /** Values and shapes of inputs, by name: `sr` → `16000`, `input` → `1x512`. */
  set?: Readonly<Record<string, string>>;
  /** Outputs that the caller feeds back, by the input they go to; absent: recognised. */
  states?: Readonly<Record<string, string>>;
}

export const defaultCheckOptions: CheckOptions = {
  epsilon: 1e-3,
  at: 'recurrent',
  maxLength: 256,
  confidence: 0.95,
  quantile: 0.99,
};

export interface ExportOptions extends CheckOptions {
  /** Context in steps, or `auto` for the smallest length that the check calls safe. */
  length: number | 'auto';
}

export interface ExportResult {
  /** The truncated ONNX model, already verified. */
  model: Uint8Array;
  verification: Verification;
  report: StabilityReport;
}

/** Files of one checkpoint: itself, and what it names beside it. Paths that leave the folder are refused by the caller's implementation. */
export interface CheckpointFiles {
  /** The name that messages show. */
  name: string;
  read(): Promise<Uint8Array>;
  /** A file of the same folder (external data, samples); undefined when it does not exist. */
  readSibling(relativePath: string): Promise<Uint8Array | undefined>;
  /** Names of the files in a folder beside the checkpoint; undefined when there is no such folder. */
  listSibling?(relativePath: string): Promise<readonly string[] | undefined>;
  /** The samples that the user chose; undefined: look for NAME.samples.* beside the checkpoint. */
  samples?: ChosenSamples;
}

/** A file or a folder of samples. */
export interface ChosenSamples {
  name: string;
  /** Names of the files in the folder; undefined when it is a file. */
  list?(): Promise<readonly string[] | undefined>;
  /** The file itself, or one of the folder's. */
  read(entry?: string): Promise<Uint8Array>;
}

/** Called with the step in words and the fraction done; throws when the job was cancelled. */
export type Progress = (step: string, fraction: number) => Promise<void>;
