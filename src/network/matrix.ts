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
  return { rows: m.rows, cols: m.cols, data: m.data.map(Math.abs) };
}

/** out += m · v. Four rows at a time, so that their sums do not wait for one another; each row is summed from left to right. */
export function addProduct(m: Matrix, v: Float64Array, out: Float64Array): void {
  const { rows, cols, data } = m;
  let r = 0;
  for (; r + 4 <= rows; r += 4) {
    const p = r * cols;
    const [p1, p2, p3] = [p + cols, p + 2 * cols, p + 3 * cols];
    let [s0, s1, s2, s3] = [0, 0, 0, 0];
    for (let c = 0; c < cols; c++) {
      const value = v[c]!;
      s0 += data[p + c]! * value;
      s1 += data[p1 + c]! * value;
      s2 += data[p2 + c]! * value;
      s3 += data[p3 + c]! * value;
    }
    out[r] = out[r]! + s0;
    out[r + 1] = out[r + 1]! + s1;
    out[r + 2] = out[r + 2]! + s2;
    out[r + 3] = out[r + 3]! + s3;
  }
  for (; r < rows; r++) {
    let sum = 0;
    for (let c = 0, p = r * cols; c < cols; c++, p++) sum += data[p]! * v[c]!;
    out[r] = out[r]! + sum;
  }
}

/** out += mᵀ · v. */
export function addTransposedProduct(m: Matrix, v: Float64Array, out: Float64Array): void {
  const { rows, cols, data } = m;
  let r = 0;
  for (; r + 4 <= rows; r += 4) {
    const p = r * cols;
    const [p1, p2, p3] = [p + cols, p + 2 * cols, p + 3 * cols];
    const [v0, v1, v2, v3] = [v[r]!, v[r + 1]!, v[r + 2]!, v[r + 3]!];
    for (let c = 0; c < cols; c++)
      out[c] = out[c]! + data[p + c]! * v0 + data[p1 + c]! * v1 + data[p2 + c]! * v2 + data[p3 + c]! * v3;
  }
  for (; r < rows; r++) for (let c = 0, p = r * cols; c < cols; c++, p++) out[c] = out[c]! + data[p]! * v[r]!;
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
