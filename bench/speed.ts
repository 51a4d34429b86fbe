import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gatesOf } from '../src/network/cell.js';
import { box } from '../src/stability/interval.js';
import { certified, uniformCell } from './support/cells.js';

/**
 * Time of all certificates of one LSTM layer beside NumPy's largest singular values of its four recurrent matrices, how it grows with the
 * hidden size, and the memory that the largest needs. Weights are small enough for every certificate to hold, so that every one is proven.
 */

const inputs = 64;
const scale = 0.06;

const python = `
import sys, time, numpy
n = int(sys.argv[2])
w = numpy.fromfile(sys.argv[1], dtype=numpy.float64).reshape(4, n, n)
start = time.perf_counter()
for m in w: numpy.linalg.norm(m, 2)
print(time.perf_counter() - start)
`;

function numpySeconds(units: number, matrices: readonly Float64Array[]): number | null {
  const folder = mkdtempSync(join(tmpdir(), 'bench-'));
  try {
    const file = join(folder, 'weights');
    writeFileSync(file, Buffer.concat(matrices.map((m) => Buffer.from(m.buffer, m.byteOffset, m.byteLength))));
    return Number(execFileSync('/usr/bin/python3', ['-c', python, file, String(units)], { encoding: 'utf8' }));
  } catch {
    return null;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export async function bench(args: readonly string[]): Promise<void> {
  const sizes = args.length > 0 ? args.map(Number) : [256, 512, 1024, 2048];
  // The first run compiles the loops.
  certified(uniformCell('lstm', 64, scale, inputs), box(inputs, -1, 1));
  const times: { units: number; seconds: number }[] = [];
  for (const units of sizes) {
    const cell = uniformCell('lstm', units, scale, inputs);
    const start = performance.now();
    const { certificates } = certified(cell, box(inputs, -1, 1));
    const seconds = (performance.now() - start) / 1000;
    times.push({ units, seconds });
    const numpy =
      units <= 1024
        ? numpySeconds(
            units,
            gatesOf(cell).map((g) => g.recurrent.data),
          )
        : null;
    const found = certificates.map(
      (c) => `${c.report.name} ${c.report.lambda?.toFixed(3) ?? '–'}${c.report.holds ? '' : ' (does not hold)'}`,
    );
    console.log(
      `LSTM ${units}: ${seconds.toFixed(2)} s for all certificates (${found.join(', ')})` +
        (numpy === null
          ? ''
          : `; NumPy's norm(W, 2) of the four matrices ${numpy.toFixed(2)} s, ratio ${(seconds / numpy).toFixed(2)}`) +
        `; memory ${(process.memoryUsage().rss / 2 ** 30).toFixed(2)} GiB`,
    );
  }
  for (let i = 1; i < times.length; i++) {
    const [a, b] = [times[i - 1]!, times[i]!];
    console.log(
      `from ${a.units} to ${b.units} units: time grows with d^${(Math.log(b.seconds / a.seconds) / Math.log(b.units / a.units)).toFixed(2)}`,
    );
  }
}
