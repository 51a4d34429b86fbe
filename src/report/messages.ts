import type { StabilityReport } from './report.js';
import type { Verification } from './verification.js';

/** Messages between the report page and the extension. Both sides import this file, and neither trusts the other's shape. */

export interface FileHeader {
  name: string;
  bytes: number;
}

export type ToPage =
  /** Sent at once, before anything was read, so that the page is never blank. */
  | { type: 'header'; header: FileHeader }
  | { type: 'progress'; step: string; fraction: number }
  | { type: 'report'; report: StabilityReport }
  /** asks: the user can say what is missing. */
  | { type: 'error'; message: string; asks: boolean }
  /** A check or export was cancelled: nothing runs, and what was known before still holds. */
  | { type: 'idle' }
  | { type: 'exporting'; length: number }
  | { type: 'exported'; path: string; verification: Verification }
  | { type: 'exportFailed'; message: string };

export type FromPage =
  | { type: 'ready' }
  /** Run the analysis again. */
  | { type: 'check' }
  | { type: 'cancel' }
  /** Ask for sample sequences; take the input range from them. */
  | { type: 'chooseSamples' }
  /** Ask for what the graph alone does not say of inputs and states. */
  | { type: 'chooseInputs' }
  | { type: 'useSampleRange' }
  /** Export the truncated model with this many steps. */
  | { type: 'export'; length: number }
  /** Open the exported file's folder entry. */
  | { type: 'reveal'; path: string };

export function isFromPage(message: unknown): message is FromPage {
  if (typeof message !== 'object' || message === null || !('type' in message)) return false;
  switch (message.type) {
    case 'ready':
    case 'check':
    case 'cancel':
    case 'chooseSamples':
    case 'chooseInputs':
    case 'useSampleRange':
      return true;
    case 'export':
      return 'length' in message && Number.isInteger(message.length) && (message.length as number) >= 1;
    case 'reveal':
      return 'path' in message && typeof message.path === 'string';
    default:
      return false;
  }
}
