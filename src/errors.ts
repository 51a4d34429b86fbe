import type { Place } from './checkpoint/place.js';

/** What only the user knows of a model, with the answers that are possible: `sr=16000` for an input, `h0=hn` for a pair of states. */
export interface Question {
  readonly about: 'set' | 'states';
  readonly answers: string[];
}

/**
 * A checkpoint, sample file or option that cannot be used. The message is one line that says where the trouble is and what
 * to do about it; callers put the file's name in front.
 */
export class BadInputError extends Error {
  override readonly name = 'BadInputError';
  /**
   * @param code stable diagnostic code, explained in docs/diagnostics.md
   * @param place the range in a text checkpoint that the message is about
   * @param question what must be answered before the checkpoint can be used
   */
  constructor(
    readonly code: string,
    message: string,
    readonly place?: Place,
    readonly question?: Question,
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
