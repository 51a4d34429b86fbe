import { describe, expect, it } from 'vitest';
import { nodeFiles } from '../../src/cli/nodeFiles.js';
import { check } from '../../src/jobs/check.js';
import { exportTruncated } from '../../src/jobs/export.js';
import { defaultCheckOptions, type CheckOptions } from '../../src/jobs/jobs.js';
import type { StabilityReport } from '../../src/report/report.js';
import { checkpointPath, hasCheckpoint } from '../support/checkpoints.js';
import { Random } from '../support/random.js';
import { runtime } from '../support/runtime.js';

/** What sample sequences say about published sequence models, which no certificate covers; skipped where these are absent. */

const silent = () => Promise.resolve();
const options: CheckOptions = { ...defaultCheckOptions, epsilon: 0.01, maxLength: 128, quantile: 0.9 };

/** Movements: every number swings about a place of its own, with a period of its own, and jitters a little. */
function movements(sequences: number, steps: number, features: number, seed: number): string {
  const random = new Random(seed);
  const all = Array.from({ length: sequences }, () => {
    const swings = Array.from({ length: features }, () => ({
      centre: random.uniform(-0.6, 0.6),
      size: random.uniform(0, 0.2),
      pace: random.uniform(0.05, 0.6),
      start: random.uniform(0, 2 * Math.PI),
    }));
    return Array.from({ length: steps }, (_, t) =>
      swings.map(({ centre, size, pace, start }) => centre + size * Math.sin(start + pace * t) + random.uniform(-0.01, 0.01)),
    );
  });
  return JSON.stringify(all);
}

function files(path: string, samples: string) {
  return {
    ...nodeFiles(path),
    samples: { name: 'movements.json', read: () => Promise.resolve(new TextEncoder().encode(samples)) },
  };
}

const pose = ['pose-detection-gru', 'models', 'gru_model.onnx'] as const;
const aircraft = ['aircraft-pm', 'models', 'lstm_model.onnx'] as const;

describe.skipIf(!hasCheckpoint(...pose))('pose-detection-gru on movements', () => {
  const path = checkpointPath(...pose);
  /** Error that the stated share of the sequences stays within at k. */
  const shareAt = ({ curve }: StabilityReport, k: number) => curve.band!.quantile[curve.k.indexOf(k)]!;

  it('has a statistical k, which new movements keep', async () => {
    const report = await check(files(path, movements(120, 160, 34, 1)), options, runtime, silent);
    expect(report.verdict).toBe('stable-on-data');
    expect(report.safeLength).toMatchObject({ basis: 'samples', quantile: 0.9, confidence: 0.95, sequences: 120 });
    const { k } = report.safeLength!;
    expect(k).toBeGreaterThan(20);
    expect(shareAt(report, k)).toBeLessThanOrEqual(options.epsilon);
    expect(report.data!.worstFound!.error).toBeGreaterThanOrEqual(report.data!.worstFound!.dataError);
    expect(report.data!.lambda).toBeLessThan(1);
    const again = await check(files(path, movements(120, 160, 34, 2)), options, runtime, silent);
    expect(shareAt(again, k)).toBeLessThanOrEqual(options.epsilon);
  });

  it('is exported with the statistical k of its own outputs', async () => {
    const { verification, report } = await exportTruncated(
      files(path, movements(80, 160, 34, 1)),
      { ...options, at: 'output', length: 'auto' },
      runtime,
      silent,
    );
    expect(report).toMatchObject({ at: 'output', verdict: 'stable-on-data', safeLength: { basis: 'samples' } });
    expect(verification).toMatchObject({ basis: 'samples', source: 'samples', passed: true, length: report.safeLength!.k });
    // At the windows of the verification, which are others than those that were measured.
    expect(verification.outputError!).toBeLessThan(3 * options.epsilon);
  });

  it('says how many movements are needed where they are too few', async () => {
    const report = await check(files(path, movements(20, 64, 34, 1)), options, runtime, silent);
    expect(report.safeLength).toBeNull();
    expect(report.diagnostics.find((d) => d.code === 'too-few-samples')?.message).toContain('29 are needed');
  });
});

describe.skipIf(!hasCheckpoint(...aircraft))('aircraft-pm on movements', () => {
  it('takes only sequences of its own length, and has no shorter k than its 30 steps', async () => {
    const path = checkpointPath(...aircraft);
    const report = await check(files(path, movements(60, 30, 17, 3)), options, runtime, silent);
    expect(report.curve.measuredOn).toMatchObject({ source: 'samples', sequences: 60 });
    expect(report.safeLength?.k ?? 30).toBe(30);
    await expect(check(files(path, movements(60, 31, 17, 3)), options, runtime, silent)).rejects.toThrow('[60, 31, 17]');
  });
});
