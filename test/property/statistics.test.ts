import { describe, expect, it } from 'vitest';
import type { MeasuredCurve } from '../../src/measurement/measuredCurve.js';
import { statisticalLength } from '../../src/measurement/statisticalLength.js';
import { binomialCdf, clopperPearsonUpper, trialsNeeded } from '../../src/stability/statistics.js';
import { Random } from '../support/random.js';

/** Three standard deviations of a share that is estimated from `repetitions` repetitions. */
const noise = (share: number, repetitions: number) => 3 * Math.sqrt((share * (1 - share)) / repetitions);

describe('binomial statements', () => {
  it('sum to the known distribution function', () => {
    expect(binomialCdf(2, 5, 0.5)).toBeCloseTo(0.5, 12);
    expect(binomialCdf(0, 3, 0.1)).toBeCloseTo(0.729, 12);
    expect(binomialCdf(7, 10, 0.9)).toBeCloseTo(0.0701908264, 9);
    expect(binomialCdf(0, 10, 0)).toBe(1);
    expect(binomialCdf(9, 10, 1)).toBe(0);
    expect(binomialCdf(10, 10, 1)).toBe(1);
  });

  it.each([
    // One-sided 95 % limits of published tables.
    [0, 10, 0.2589],
    [1, 10, 0.3942],
    [5, 10, 0.7776],
    [0, 59, 0.0495],
    [3, 100, 0.0757],
    [10, 10, 1],
  ])('%i of %i failures at most %f, with confidence 95 %', (failures, n, limit) => {
    expect(clopperPearsonUpper(failures, n, 0.95)).toBeCloseTo(limit, 4);
  });

  it('without failures the limit is 1 − (1 − confidence)^(1/n)', () => {
    for (const n of [1, 20, 299, 5000]) {
      for (const confidence of [0.5, 0.95, 0.999]) {
        expect(clopperPearsonUpper(0, n, confidence)).toBeCloseTo(1 - (1 - confidence) ** (1 / n), 12);
      }
    }
  });

  it.each([0.003, 0.05, 0.3, 0.9])('the limit covers a true share of %f as often as it says', (p) => {
    const repetitions = 4000;
    for (const [n, confidence] of [
      [40, 0.95],
      [150, 0.8],
    ] as const) {
      const limits = Array.from({ length: n + 1 }, (_, failures) => clopperPearsonUpper(failures, n, confidence));
      const random = new Random(9000 + n);
      let covered = 0;
      for (let i = 0; i < repetitions; i++) {
        let failures = 0;
        for (let t = 0; t < n; t++) if (random.chance(p)) failures++;
        if (p <= limits[failures]!) covered++;
      }
      expect(covered / repetitions).toBeGreaterThanOrEqual(confidence - noise(confidence, repetitions));
    }
  });

  it('299 sequences without a failure are the fewest for 99 % with confidence 95 %', () => {
    expect(trialsNeeded(0.99, 0.95)).toBe(299);
    expect(trialsNeeded(0.95, 0.95)).toBe(59);
    expect(trialsNeeded(0.9, 0.95)).toBe(29);
    expect(trialsNeeded(0.999, 0.95)).toBe(2995);
    // Powers that come out whole must not be rounded up by a bit.
    expect(trialsNeeded(0.5, 0.75)).toBe(2);
    for (const [quantile, confidence] of [
      [0.99, 0.95],
      [0.9, 0.99],
    ] as const) {
      const n = trialsNeeded(quantile, confidence);
      expect(clopperPearsonUpper(0, n, confidence)).toBeLessThanOrEqual(1 - quantile);
      expect(clopperPearsonUpper(0, n - 1, confidence)).toBeGreaterThan(1 - quantile);
    }
  });
});

/** Errors of made-up sequences: the error at k of a sequence is its own size times a decay. */
interface Process {
  /** Errors of one sequence at k = 0, 1, …. */
  sample(random: Random, lengths: number): number[];
  /** True share of sequences whose error at k is at most ε. */
  share(k: number): number;
}

const epsilon = 0.01;
const decay = 0.8;
const processes: Record<string, Process> = {
  'errors that fall together': {
    sample: (random, lengths) => {
      const size = random.next();
      return Array.from({ length: lengths }, (_, k) => size * decay ** k);
    },
    share: (k) => Math.min(1, epsilon / decay ** k),
  },
  'errors with a heavy tail': {
    sample: (random, lengths) => {
      const size = 1 / (1 - random.next());
      return Array.from({ length: lengths }, (_, k) => size * decay ** k);
    },
    // size > s has probability 1/s.
    share: (k) => Math.max(0, 1 - decay ** k / epsilon),
  },
  'errors that are drawn anew at every length': {
    sample: (random, lengths) => Array.from({ length: lengths }, (_, k) => random.next() * decay ** k),
    share: (k) => Math.min(1, epsilon / decay ** k),
  },
};

function curveOf(process: Process, sequences: number, lengths: number, random: Random): MeasuredCurve {
  const errors = Array.from({ length: sequences }, () => process.sample(random, lengths));
  const perSequence = Array.from({ length: lengths }, (_, k) => Float64Array.from(errors, (e) => e[k]!));
  const worst = perSequence.map((row) => Math.max(...row));
  const k = perSequence.map((_, length) => length);
  const windows = new Int32Array(lengths).fill(sequences);
  return { k, worst, worstAt: k.map(() => ({ sequence: 0, position: 0 })), perSequence, sequences, windows };
}

describe('the statistical length', () => {
  const lengths = 48;

  it.each(Object.keys(processes))('%s: the guarantee fails no more often than its confidence allows', (name) => {
    const process = processes[name]!;
    const repetitions = 1500;
    for (const [sequences, quantile, confidence] of [
      [60, 0.9, 0.95],
      [40, 0.8, 0.8],
    ] as const) {
      const random = new Random(9100);
      let wrong = 0;
      let found = 0;
      for (let i = 0; i < repetitions; i++) {
        const result = statisticalLength(curveOf(process, sequences, lengths, random), epsilon, quantile, confidence);
        if (result.kind !== 'found') continue;
        found++;
        if (process.share(result.k) < quantile) wrong++;
      }
      expect(found).toBeGreaterThan(repetitions / 2);
      expect(wrong / repetitions).toBeLessThanOrEqual(1 - confidence + noise(confidence, repetitions));
    }
  });

  it('a length chosen without the confidence limit would break the guarantee', () => {
    // The smallest k whose observed share reaches the quantile: what the test above must be able to tell apart.
    const process = processes['errors that fall together']!;
    const [sequences, quantile, repetitions] = [60, 0.9, 1500];
    const random = new Random(9200);
    let wrong = 0;
    for (let i = 0; i < repetitions; i++) {
      const { perSequence } = curveOf(process, sequences, lengths, random);
      const k = perSequence.findIndex((row) => row.filter((e) => e <= epsilon).length >= quantile * sequences);
      if (process.share(k) < quantile) wrong++;
    }
    expect(wrong / repetitions).toBeGreaterThan(0.2);
  });

  it('asks for more sequences where no result could support the quantile', () => {
    const curve = curveOf(processes['errors that fall together']!, 298, lengths, new Random(1));
    expect(statisticalLength(curve, epsilon, 0.99, 0.95)).toEqual({ kind: 'too-few', sequences: 298, needed: 299 });
  });

  it('starts at the longest length that enough sequences reach', () => {
    // 300 sequences, of which only 100 are long enough for k = 3; all of them are bad at k = 0 alone.
    const row = (error: number, reached: number) => Float64Array.from({ length: 300 }, (_, i) => (i < reached ? error : NaN));
    const perSequence = [row(1, 300), row(0, 300), row(0, 300), row(0, 100)];
    const curve: MeasuredCurve = {
      k: [0, 1, 2, 3],
      worst: [1, 0, 0, 0],
      worstAt: perSequence.map(() => ({ sequence: 0, position: 0 })),
      perSequence,
      sequences: 300,
      windows: Int32Array.of(300, 300, 300, 100),
    };
    expect(statisticalLength(curve, epsilon, 0.99, 0.95)).toMatchObject({ kind: 'found', k: 1 });
    expect(statisticalLength({ ...curve, perSequence: perSequence.map(() => row(0, 100)) }, epsilon, 0.99, 0.95).kind).toBe(
      'not-reached',
    );
  });

  it('finds nothing where errors stay, and stops at the first length that fails', () => {
    const row = (error: number) => new Float64Array(300).fill(error);
    const curve = (errors: number[]): MeasuredCurve => ({
      k: errors.map((_, k) => k),
      worst: errors,
      worstAt: errors.map(() => ({ sequence: 0, position: 0 })),
      perSequence: errors.map(row),
      sequences: 300,
      windows: new Int32Array(errors.length).fill(300),
    });
    expect(statisticalLength(curve([1, 1, 1]), epsilon, 0.99, 0.95).kind).toBe('not-reached');
    // A lucky short length behind a failing one does not count.
    expect(statisticalLength(curve([0, 1, 0, 0]), epsilon, 0.99, 0.95)).toMatchObject({ kind: 'found', k: 2 });
    // Equal to ε is good enough.
    expect(statisticalLength(curve([1, epsilon]), epsilon, 0.99, 0.95)).toMatchObject({ kind: 'found', k: 1 });
  });
});
