import { printParseErrorCode, visit } from 'jsonc-parser';
import { BadInputError } from '../../errors.js';
import type { Place } from '../place.js';

/** A JSON object with its keys in snake_case: TF.js itself takes `batchInputShape` for `batch_input_shape`. */
export type JsonObject = Readonly<Record<string, unknown>>;

export interface JsonText {
  readonly value: unknown;
  /** Where an object of `value` stands in the text. */
  placeOf(object: JsonObject): Place | undefined;
}

/** Longer texts are no topology: weights lie in files of their own. */
const longestText = 64 * 1024 * 1024;
/** Models nested in models take about six levels each. */
const deepestNesting = 400;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** @throws BadInputError that names line and column */
export function parseJson(bytes: Uint8Array): JsonText {
  if (bytes.length > longestText) {
    throw new BadInputError('too-large', `the JSON text has ${bytes.length} bytes; up to ${longestText} can be a topology`);
  }
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new BadInputError('damaged-file', 'the JSON file is not UTF-8 text; copy or export it again');
  }
  const lines = new Lines(text);
  const spans = new Map<object, { from: number; to: number }>();
  let root: unknown;
  const open: { container: unknown[] | Record<string, unknown>; from: number; key: string }[] = [];

  const add = (value: unknown) => {
    const top = open.at(-1);
    if (!top) root = value;
    else if (Array.isArray(top.container)) top.container.push(value);
    // Not by assignment, which would set the prototype for the key __proto__.
    else Object.defineProperty(top.container, top.key, { value, enumerable: true, configurable: true, writable: true });
  };
  const begin = (container: unknown[] | Record<string, unknown>, from: number) => {
    if (open.length >= deepestNesting) {
      throw new BadInputError('damaged-file', `${lines.say(from)}: the JSON is nested more than ${deepestNesting} levels deep`);
    }
    add(container);
    open.push({ container, from, key: '' });
  };
  const end = (to: number) => {
    const { container, from } = open.pop()!;
    spans.set(container, { from, to });
  };
  visit(
    text,
    {
      onObjectBegin: (offset) => begin({}, offset),
      onArrayBegin: (offset) => begin([], offset),
      onObjectProperty: (name) => {
        open.at(-1)!.key = snakeCase(name);
      },
      onLiteralValue: add,
      onObjectEnd: (offset, length) => end(offset + length),
      onArrayEnd: (offset, length) => end(offset + length),
      onError: (error, offset) => {
        const cut = offset >= text.trimEnd().length;
        const what = cut ? 'the JSON ends too early; the file is truncated' : `not valid JSON (${printParseErrorCode(error)})`;
        throw new BadInputError('damaged-file', `${lines.say(offset)}: ${what}; copy or export it again`);
      },
    },
    { disallowComments: true, allowTrailingComma: false, allowEmptyContent: false },
  );
  return {
    value: root,
    placeOf: (object) => {
      const span = spans.get(object);
      return span && lines.place(span.from, span.to);
    },
  };
}

function snakeCase(key: string): string {
  return key.replace(/([a-z0-9])([A-Z])/g, (_, before: string, letter: string) => `${before}_${letter.toLowerCase()}`);
}

class Lines {
  private starts: number[] | undefined;

  constructor(private readonly text: string) {}

  place(from: number, to: number): Place {
    const [start, end] = [this.position(from), this.position(to)];
    return { startLine: start.line, startColumn: start.column, endLine: end.line, endColumn: end.column };
  }

  say(offset: number): string {
    const { line, column } = this.position(offset);
    return `line ${line}, column ${column}`;
  }

  private position(offset: number): { line: number; column: number } {
    this.starts ??= [0, ...Array.from(this.text.matchAll(/\r\n|\r|\n/g), (match) => match.index + match[0].length)];
    let low = 0;
    let high = this.starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle]! <= offset) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: offset - this.starts[low]! + 1 };
  }
}
