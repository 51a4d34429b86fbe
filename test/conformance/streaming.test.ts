import { describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.js';
import { readModel } from '../../src/checkpoint/onnx/model.js';
import { check } from '../../src/jobs/check.js';
import { exportTruncated } from '../../src/jobs/export.js';
import { defaultCheckOptions, type CheckOptions, type CheckpointFiles } from '../../src/jobs/jobs.js';
import { step } from '../../src/network/forward.js';
import { streamedNetwork } from '../../src/streaming/coverage.js';
import { StateMap, joined, type Frame } from '../../src/streaming/stateMap.js';
import { syntheticStreams } from '../../src/streaming/streams.js';
import { feedsOf } from '../../src/truncation/verifyStream.js';
import { stateSize } from '../../src/network/cell.js';
import type { Tensor } from '../../src/checkpoint/onnx/tensor.js';
import { DataType } from '../../src/checkpoint/onnx/tensor.js';
import { Random } from '../support/random.js';
import { runModel, runtime } from '../support/runtime.js';
import { streamingStyles, type StreamingStyle } from '../support/streamingModels.js';
import { TestGraph } from '../support/testGraph.js';

/** Streaming models of every kind, from file to a verified model without state. */

const silent = () => Promise.resolve();

const inMemory = (bytes: Uint8Array): CheckpointFiles => ({
  name: 'stream.onnx',
  read: () => Promise.resolve(bytes),
  readSibling: () => Promise.resolve(undefined),
});

const largest = (a: ArrayLike<number>, b: ArrayLike<number>) => {
  expect(a.length).toBe(b.length);
  return Array.from(a).reduce((m, v, i) => Math.max(m, Math.abs(v - b[i]!)), 0);
};

describe.each([13, 17])('operator set %i', (opset) => {
  describe.each(streamingStyles)('$name', (style) => {
    const graph = new TestGraph(opset, new Random(4000 + opset));
    style.build(graph);
    const bytes = graph.bytes();
    const settings = { set: style.set ?? {}, states: style.states ?? {} };
    const options: CheckOptions = { ...defaultCheckOptions, ...settings, maxLength: 48 };
    const open = () => openCheckpoint(inMemory(bytes), settings, runtime);

    it('states and cells are recognised, and the report says so', async () => {
      const report = await check(inMemory(bytes), options, runtime, silent);
      expect(report.streaming!.states.map((s) => `${s.input}=${s.output} ${s.kind}`)).toEqual(style.pairs);
      expect(report.layers.map((l) => l.cell)).toEqual(style.cells);
      const { notCertified, certificate } = report.streaming!;
      expect(notCertified === null, notCertified ?? '').toBe((style.covered ?? false) || (style.whole ?? false));
      expect(certificate?.holds ?? false).toBe(style.whole ?? false);
      expect(report.curve.measured!.length).toBe(49);
      // These models forget: the curve ends far below where it begins, and a length is found.
      expect(report.streaming!.outputMeasured!.at(-1)).toBeLessThan(1e-3);
      expect(report.streaming!.cost!.k).toBeGreaterThanOrEqual(1);
      expect(report.data!.lyapunovExponent).toBeLessThan(0.05);
      // The growth of an error in a frame is never more than the norm of the derivative allows, apart from what lies between points.
      expect(report.data!.lambda).toBeLessThan(1.5 * report.streaming!.jacobian!.oneStep + 0.05);
      if (report.curve.bound) {
        report.curve.measured!.forEach((error, i) => expect(error).toBeLessThanOrEqual(report.curve.bound![i]! + 1e-5));
      }
    });

    it('runs as the original does: ONNX Runtime on both files', async () => {
      const { streaming } = await open();
      const map = await StateMap.load(
        streaming!,
        streaming!.outputs.map((o) => o.name),
        runtime,
      );
      const random = new Random(77);
      const state = random.vector(map.stateSize).map(Math.fround);
      const [frame] = syntheticStreams(streaming!, { lower: -1, upper: 1 }, 1, 1, 5)[0]!;
      const ours = await map.step(state, frame!);
      const original = await runModel(bytes, originalFeeds(style, streaming!, state, frame!));
      const theirs = joined([
        ...streaming!.states.map((s) => original.get(s.output)!.data),
        ...streaming!.outputs.map((o) => original.get(o.name)!.data),
      ]);
      expect(largest(joined([ours.state, ours.seen]), theirs)).toBeLessThan(1e-6);
      await map.release();
    });

    it('exports a model without state that answers as the original does frame by frame', async () => {
      const k = 9;
      const { model, verification } = await exportTruncated(inMemory(bytes), { ...options, length: k }, runtime, silent);
      expect(verification.passed).toBe(true);
      const { graph } = readModel(model);
      expect(graph.node.filter((n) => /^(RNN|LSTM|GRU|Loop|Scan|If)$/.test(n.opType))).toEqual([]);
      const states = style.pairs.map((p) => p.split(' ')[0]!.split('=') as [string, string]);
      expect(graph.input.map((i) => i.name).filter((name) => states.some(([input]) => input === name))).toEqual([]);
      expect(graph.output.map((o) => o.name).filter((name) => states.some(([, output]) => output === name))).toEqual([]);

      // An independent walk through the original file, not through what was made of it.
      const { streaming } = await open();
      const window = syntheticStreams(streaming!, { lower: -1, upper: 1 }, 1, k, 99)[0]!;
      let state: Float64Array = new Float64Array(streaming!.states.reduce((n, s) => n + s.dims.reduce((a, b) => a * b, 1), 0));
      let outputs = new Map<string, Tensor>();
      for (const frame of window) {
        outputs = await runModel(bytes, originalFeeds(style, streaming!, state, frame));
        state = joined(streaming!.states.map((s) => outputs.get(s.output)!.data));
      }
      const answers = await runModel(model, feedsOf(streaming!, window));
      for (const { name } of streaming!.outputs)
        expect(largest(answers.get(name)!.data, outputs.get(name)!.data)).toBeLessThan(2e-6);
    });

    it.skipIf(!style.covered)('its cells, in float64, step as ONNX Runtime does', async () => {
      const { onnx, streaming } = await open();
      const network = await streamedNetwork(streaming!, onnx, runtime);
      const layer = network.layers[0]!;
      const node = onnx.nodes[0]!;
      const seen = node.y === '' ? node.yH : node.y;
      const map = await StateMap.load(streaming!, [seen], runtime);
      const stream = syntheticStreams(streaming!, { lower: -1, upper: 1 }, 1, 6, 3)[0]!;
      const sources = await StateMap.load(streaming!, [node.x], runtime);
      let state = map.initial();
      let own: Float64Array = new Float64Array(stateSize(layer.directions[0]!.cell));
      for (const frame of stream) {
        const x = (await sources.step(state, frame)).seen;
        own = step(layer.directions[0]!.cell, x, own);
        const next = await map.step(state, frame);
        state = next.state;
        expect(largest(own.subarray(0, layer.hiddenSize), next.seen)).toBeLessThan(1e-6);
      }
      await map.release();
      await sources.release();
    });
  });
});

/** Feeds of the file as it was written, with what was set put back in. */
function originalFeeds(
  style: StreamingStyle,
  streaming: NonNullable<Awaited<ReturnType<typeof openCheckpoint>>['streaming']>,
  state: Float64Array,
  frame: Frame,
): Map<string, Tensor> {
  const feeds = new Map<string, Tensor>();
  let offset = 0;
  for (const s of streaming.states) {
    const size = s.dims.reduce((a, b) => a * b, 1);
    feeds.set(s.input, { type: s.type, dims: s.dims, data: state.subarray(offset, offset + size) });
    offset += size;
  }
  for (const f of streaming.frames) feeds.set(f.name, { type: f.type, dims: f.dims, data: frame.get(f.name)! });
  for (const [name, value] of Object.entries(style.set ?? {}))
    feeds.set(name, { type: DataType.INT64, dims: [], data: Float64Array.of(Number(value)) });
  return feeds;
}
