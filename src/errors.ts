import type { Place } from './checkpoint/place.js';

/**
 * A checkpoint, sample file or option that cannot be used. The message is one line that says where the trouble is and what
 * to do about it; callers put the file's name in front.
 */
export class BadInputError extends Error {
  override readonly name = 'BadInputError';
  /**
   * @param code stable diagnostic code, explained in docs/diagnostics.md
   * @param place the range in a text checkpoint that the message is about
   */
  constructor(
    readonly code: string,
    message: string,
    readonly place?: Place,
  ) {
    super(message);
  }
}

/** The user asked to stop. No error in the eyes of the user. */
export class CancelledError extends Error {
  override readonly name = 'CancelledError';
  constructor() {
    super('Cancelled');
  }
}
