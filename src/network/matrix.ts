/** A dense row-major matrix. Weights are widened to float64 on reading, so that the certificates round in one place only. */
export interface Matrix {
  readonly rows: number;
  readonly cols: number;
  /** Entry (r, c) is data[r * cols + c]. */
  readonly data: Float64Array;
}

export function matrix(rows: number, cols: number, data: Float64Array = new Float64Array(rows * cols)): Matrix {
  if (data.length !== rows * cols) throw new RangeError(`${rows}×${cols} matrix from ${data.length} numbers`);
  return { rows, cols, data };
}

/** Rows `from` up to, not including, `to`, sharing memory with the source. */
export function rowRange(m: Matrix, from: number, to: number): Matrix {
  return { rows: to - from, cols: m.cols, data: m.data.subarray(from * m.cols, to * m.cols) };
}

export function transposed(m: Matrix): Matrix {
  const out = new Float64Array(m.data.length);
  for (let r = 0; r < m.rows; r++) for (let c = 0; c < m.cols; c++) out[c * m.rows + r] = m.data[r * m.cols + c]!;
  return { rows: m.cols, cols: m.rows, data: out };
}

export function absolute(m: Matrix): Matrix {
  const data = new Float64Array(m.data.length);
  // A plain loop: `map` calls a function for each of millions of entries.
  for (let p = 0; p < data.length; p++) data[p] = Math.abs(m.data[p]!);
  return { rows: m.rows, cols: m.cols, data };
}

/** out += m · v. */
export function addProduct(m: Matrix, v: Float64Array, out: Float64Array): void {
  const { rows, cols, data } = m;
  for (let r = 0, p = 0; r < rows; r++) {
    let sum = 0;
    for (let c = 0; c < cols; c++, p++) sum += data[p]! * v[c]!;
    out[r] = out[r]! + sum;
  }
}

export function product(m: Matrix, v: Float64Array): Float64Array {
  const out = new Float64Array(m.rows);
  addProduct(m, v, out);
  return out;
}

/** Largest absolute row sum, the operator norm that belongs to the max norm; not rounded outward. */
export function rowSumNorm(m: Matrix): number {
  let largest = 0;
  for (let r = 0; r < m.rows; r++) {
    let sum = 0;
    for (let c = 0; c < m.cols; c++) sum += Math.abs(m.data[r * m.cols + c]!);
    largest = Math.max(largest, sum);
  }
  return largest;
}
