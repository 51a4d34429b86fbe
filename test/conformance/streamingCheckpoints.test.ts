import { statSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { readModel } from '../../src/checkpoint/onnx/model.js';
import { nodeFiles } from '../../src/cli/nodeFiles.js';
import { check } from '../../src/jobs/check.js';
import { exportTruncated } from '../../src/jobs/export.js';
import { defaultCheckOptions, type CheckOptions, type CheckpointFiles } from '../../src/jobs/jobs.js';
import { smallestLength } from '../../src/stability/errorCurve.js';
import { checkpointPath, hasCheckpoint } from '../support/checkpoints.js';
import { maxLength, published, samplesOf, streams } from '../support/publishedStreams.js';
import { runtime } from '../support/runtime.js';

/** Published streaming models on audio like speech: states, cells, a measured curve, and a model without state. */

const silent = () => Promise.resolve();
describe.each(published)('$name', (model) => {
  const present = hasCheckpoint(...model.path);
  const path = checkpointPath(...model.path);
  const files = (): CheckpointFiles => {
    const bytes = samplesOf(model);
    return { ...nodeFiles(path), samples: { name: 'speech.npz', read: () => Promise.resolve(bytes) } };
  };
  const options: CheckOptions = { ...defaultCheckOptions, maxLength, ...(model.set ? { set: model.set } : {}) };

  it.skipIf(!present)('states, cells and a measured curve on speech; no k is invented', async () => {
    const report = await check(files(), options, runtime, silent);
    const { states, frames: ports, outputMeasured } = report.streaming!;
    expect(states.map((s) => `${s.input}=${s.output} ${s.kind} of ${s.of.length}`)).toEqual(model.states);
    expect(ports).toEqual([{ name: model.input, shape: [...model.frame] }]);
    const cells: Record<string, number> = {};
    for (const { cell } of report.layers) cells[cell] = (cells[cell] ?? 0) + 1;
    expect(cells).toEqual(model.cells);
    expect(report.curve.measured).toHaveLength(maxLength + 1);
    expect(report.curve.measuredOn).toMatchObject({ source: 'samples', sequences: streams });
    // With no frame at all the error is the answer itself: these signals make every model speak. Where the curve ends is theirs to say.
    expect(outputMeasured![0]).toBeGreaterThan(model.loudest);
    expect(outputMeasured!.every(Number.isFinite)).toBe(true);
    expect(Math.abs(report.data!.lyapunovExponent!)).toBeLessThan(5);
    expect(report.data!.lyapunovError).toBeGreaterThan(0);
    // Three streams are too few for a statement, whatever they show.
    expect(report.safeLength).toBeNull();
    expect(report.diagnostics.map((d) => d.code)).toContain('too-few-samples');
    const reached = smallestLength(report.curve.k, report.curve.measured!, report.epsilon);
    if (reached === null) expect(report.streaming!.cost).toBeNull();
    await expect(exportTruncated(files(), { ...options, length: 'auto' }, runtime, silent)).rejects.toMatchObject({
      code: 'no-safe-length',
    });
  });

  it.skipIf(!present)('a model without state that matches the original frame by frame', async () => {
    const k = model.exported;
    const { model: bytes, verification } = await exportTruncated(
      files(),
      { ...options, maxLength: k, length: k },
      runtime,
      silent,
    );
    expect(verification).toMatchObject({ length: k, passed: true, source: 'samples' });
    expect(verification.exactError).toBeLessThan(2e-4);
    const { graph } = readModel(bytes);
    expect(graph.node.filter((n) => /^(RNN|LSTM|GRU|Loop|Scan|If)$/.test(n.opType))).toEqual([]);
    expect(graph.input.map((i) => i.name)).toEqual([model.input]);
    expect(graph.output).toHaveLength(1);
    // Weights are stored once: the initializers and constants of the new file are no larger than the old file.
    const stored = [...graph.initializer, ...graph.node.flatMap((n) => n.attribute.flatMap((a) => (a.t ? [a.t] : [])))];
    const weights = stored.reduce((sum, t) => sum + t.rawData.length + 4 * t.floatData.length + 8 * t.int64Data.length, 0);
    expect(weights).toBeLessThan(statSync(path).size * 1.02);
  });
});
