/** A range in a text file. Lines and columns count from 1, columns in UTF-16 units, the end is after the last character; as in SARIF. */
export interface Place {
  startLine: number;
  startColumn: number;
  endLine: number;
  endColumn: number;
}
