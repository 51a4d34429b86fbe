/** What the first bytes of a file say about it. */

function head(bytes: Uint8Array): string {
  return new TextDecoder('latin1').decode(bytes.subarray(0, 64));
}

export function isLfsPointer(bytes: Uint8Array): boolean {
  return head(bytes).startsWith('version https://git-lfs');
}

/** True for a text that begins like a JSON object or list. */
export function looksLikeJson(bytes: Uint8Array): boolean {
  return /^(\u00ef\u00bb\u00bf)?\s*[{[]/.test(head(bytes));
}
