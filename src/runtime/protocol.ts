import type { Place } from '../checkpoint/place.js';
import type { Question } from '../errors.js';
import type { StabilityReport } from '../report/report.js';
import type { ExportOptions, ExportResult, CheckOptions } from '../jobs/jobs.js';

/** Messages between the extension host and the worker thread. The host owns the files; the worker asks for the ones it needs. */

export type ToWorker =
  | { type: 'check'; job: number; file: string; samples: string | null; options: CheckOptions }
  | { type: 'export'; job: number; file: string; samples: string | null; options: ExportOptions }
  | { type: 'cancel'; job: number }
  /** Answer to `read`. */
  | { type: 'file'; request: number; bytes: Uint8Array | null; error: string | null }
  /** Answer to `list`: null when it is no folder. */
  | { type: 'names'; request: number; names: readonly string[] | null };

export type FromWorker =
  | { type: 'progress'; job: number; step: string; fraction: number }
  | { type: 'checked'; job: number; report: StabilityReport }
  | { type: 'exported'; job: number; result: ExportResult }
  | { type: 'failed'; job: number; error: SerializedError }
  /** A file of the job: the checkpoint itself; the chosen samples, or `path` in their folder; or a path relative to the checkpoint's folder. */
  | { type: 'read'; job: number; request: number; what: FileRole; path: string }
  /** The files in a folder: the chosen samples, or a path relative to the checkpoint's folder. */
  | { type: 'list'; job: number; request: number; what: FileRole; path: string };

export type FileRole = 'checkpoint' | 'samples' | 'sibling';

export interface SerializedError {
  /** `cancelled` is no error for the user; `bad-input` has one clear line; `internal` is a defect of ours. */
  kind: 'cancelled' | 'bad-input' | 'internal';
  message: string;
  /** Code of the diagnostic that a bad input becomes. */
  code: string;
  /** The range in a text checkpoint that it is about. */
  place?: Place;
  /** What must be answered before the checkpoint can be used. */
  question?: Question;
}
