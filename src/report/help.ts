const repository = 'https://github.com/rnn-stability/rnn-stability';

/** The page that explains a diagnostic code. */
export function diagnosticHelp(code: string): string {
  return `${repository}/blob/main/docs/diagnostics.md#${encodeURIComponent(code)}`;
}
