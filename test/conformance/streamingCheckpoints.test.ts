import { statSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { npy, npz } from '../../examples/training/npz.js';
import { readModel } from '../../src/checkpoint/onnx/model.js';
import { nodeFiles } from '../../src/cli/nodeFiles.js';
import { check } from '../../src/jobs/check.js';
import { exportTruncated } from '../../src/jobs/export.js';
import { defaultCheckOptions, type CheckOptions, type CheckpointFiles } from '../../src/jobs/jobs.js';
import { smallestLength } from '../../src/stability/errorCurve.js';
import { checkpointPath, hasCheckpoint } from '../support/checkpoints.js';
import { runtime } from '../support/runtime.js';
import { framesOf, spectrum, speech } from '../support/speech.js';

/** Published streaming models on audio like speech: states, cells, a measured curve, and a model without state. */

const silent = () => Promise.resolve();
const maxLength = 96;
const frames = maxLength + 40;
const streams = 3;

interface Published {
  readonly name: string;
  readonly path: readonly string[];
  readonly set?: Readonly<Record<string, string>>;
  readonly sampleRate: number;
  readonly input: string;
  /** Shape of one frame, and the frames of a signal. */
  readonly frame: readonly number[];
  cut(signal: Float64Array): Float64Array[];
  readonly states: readonly string[];
  readonly cells: Readonly<Record<string, number>>;
  /** The largest output on speech is above this: a probability of voice, a mask, a sample of clean audio. */
  readonly loudest: number;
  /** Frames of the exported model, where a deep graph takes minutes to load. */
  readonly exported: number;
}

const hann = (size: number) =>
  Float64Array.from({ length: size }, (_, i) => Math.sqrt(0.5 - 0.5 * Math.cos((2 * Math.PI * i) / size)));
const windowed = (frame: Float64Array) => {
  const window = hann(frame.length);
  return frame.map((v, i) => v * window[i]!);
};
const magnitudes = (s: Float64Array) =>
  Float64Array.from({ length: s.length / 2 }, (_, i) => Math.hypot(s[2 * i]!, s[2 * i + 1]!));

const lstm = 'packed of 1';
const published: readonly Published[] = [
  {
    name: 'silero-vad at 16 kHz',
    path: ['silero-vad', 'silero_vad.onnx'],
    // Its callers put the end of the chunk before in front of every chunk, without which it hears no voice.
    set: { sr: '16000', input: '1x576' },
    sampleRate: 16000,
    input: 'input',
    frame: [1, 576],
    cut: (s) => framesOf(s, 576, 512),
    states: [`state=stateN ${lstm}`],
    cells: { lstm: 1 },
    loudest: 0.9,
    exported: 48,
  },
  {
    name: 'silero-vad at 8 kHz',
    path: ['silero-vad', 'silero_vad.onnx'],
    set: { sr: '8000', input: '1x288' },
    sampleRate: 8000,
    input: 'input',
    frame: [1, 288],
    cut: (s) => framesOf(s, 288, 256),
    states: [`state=stateN ${lstm}`],
    cells: { lstm: 1 },
    loudest: 0.9,
    exported: 48,
  },
  {
    name: 'silero-vad with one sample rate',
    path: ['silero-vad', 'silero_vad_openvino_16k.onnx'],
    sampleRate: 16000,
    input: 'input',
    frame: [1, 576],
    cut: (s) => framesOf(s, 576, 512),
    states: [`state=stateN ${lstm}`],
    cells: { lstm: 1 },
    loudest: 0.9,
    exported: 48,
  },
  {
    name: 'dtln model_1',
    path: ['dtln', 'model_1.onnx'],
    sampleRate: 16000,
    input: 'input_2',
    frame: [1, 1, 257],
    cut: (s) => framesOf(s, 512, 128).map((f) => magnitudes(spectrum(f))),
    states: ['input_3=tf_op_layer_stack_2 packed of 2'],
    cells: { lstm: 2 },
    loudest: 0.1,
    exported: 48,
  },
  {
    name: 'dtln model_2, cells in products and sums',
    path: ['dtln', 'model_2.onnx'],
    sampleRate: 16000,
    input: 'input_4',
    frame: [1, 1, 512],
    cut: (s) => framesOf(s, 512, 128),
    states: ['input_5=tf_op_layer_stack_5 packed of 2'],
    cells: { lstm: 2 },
    loudest: 0.1,
    exported: 48,
  },
  {
    name: 'gtcrn',
    path: ['gtcrn', 'gtcrn_simple.onnx'],
    sampleRate: 16000,
    input: 'mix',
    frame: [1, 257, 1, 2],
    cut: (s) => framesOf(s, 512, 256).map((f) => spectrum(windowed(f))),
    states: [
      'conv_cache=conv_cache_out cache of 0',
      'tra_cache=tra_cache_out hidden of 6',
      'inter_cache=inter_cache_out hidden of 4',
    ],
    cells: { gru: 14 },
    loudest: 0.1,
    exported: 3,
  },
];

/** The samples file of a model: [streams, frames, one frame]. */
function samplesOf({ sampleRate, frame, cut, input }: Published): Uint8Array {
  const all = Array.from({ length: streams }, (_, n) => {
    let seconds = 2;
    let cutFrames = cut(speech(100 + n, sampleRate, seconds));
    while (cutFrames.length < frames) cutFrames = cut(speech(100 + n, sampleRate, (seconds *= 1.5)));
    return cutFrames.slice(0, frames);
  });
  const size = frame.reduce((a, b) => a * b, 1);
  const data = new Float32Array(streams * frames * size);
  all.flat().forEach((f, i) => data.set(f, i * size));
  return npz({ [input]: npy(data, [streams, frames, ...frame]) });
}

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
