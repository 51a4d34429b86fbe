import { describe, expect, it } from 'vitest';
import { openCheckpoint } from '../../src/checkpoint/open.js';
import { boundStateMap, type StateMapBounds } from '../../src/stability/stateMapBounds.js';
import { initialState, StateMap } from '../../src/streaming/stateMap.js';
import { stateSignals } from '../../src/streaming/stateSignals.js';
import type { StreamingModel } from '../../src/streaming/streamingModel.js';
import { Random } from '../support/random.js';
import { runtime } from '../support/runtime.js';
import { TestGraph } from '../support/testGraph.js';

/** Interval bounds of state maps without a known cell, attacked by running the models in ONNX Runtime. */

const maps: Record<string, { build(g: TestGraph): void; exactFrom?: number }> = {
  'a convolution cache of four frames': {
    exactFrom: 5,
    build(g) {
      const joined = g.node('Concat', [g.input('cache', [1, 3, 4]), g.input('x', [1, 3, 1])], { axis: 2 });
      const y = g.node('Conv', [joined, g.weight([4, 3, 3]), g.weight([4])], { kernel_shape: [3], dilations: [2] });
      g.output(g.node('Relu', [y]), [1, 4, 1]);
      g.output(g.node('Identity', [g.slice(joined, [1], [2 ** 31 - 1], [2])], {}, ['cache_out']), [1, 3, 4]);
    },
  },
  'a cache in two dimensions, grouped and padded': {
    exactFrom: 3,
    build(g) {
      const joined = g.node('Concat', [g.input('cache', [1, 2, 2, 3]), g.input('x', [1, 2, 1, 3])], { axis: 2 });
      const attributes = { kernel_shape: [3, 3], pads: [0, 1, 0, 1], group: 2 };
      g.output(g.node('Sigmoid', [g.node('Conv', [joined, g.weight([2, 1, 3, 3])], attributes)]), [1, 2, 1, 3]);
      g.output(g.node('Identity', [g.slice(joined, [1], [3], [2])], {}, ['cache_out']), [1, 2, 2, 3]);
    },
  },
  'slow leaks of two rates, the second fed by the first': {
    build(g) {
      const [a, b] = [g.input('state_a', [1, 2]), g.input('state_b', [1, 2])];
      const nextA = g.node('Add', [g.node('Mul', [a, g.floats([0.85, 0.5])]), g.input('x', [1, 2])], {}, ['state_a_next']);
      const fed = g.node('Mul', [nextA, g.floats([0.5])]);
      const nextB = g.node('Add', [g.node('Mul', [b, g.floats([0.7])]), fed], {}, ['state_b_next']);
      g.output(g.node('Tanh', [nextB]), [1, 2]);
      g.output(nextA, [1, 2]);
      g.output(nextB, [1, 2]);
    },
  },
  'a gated unit that is none of the known cells': {
    build(g) {
      const [h, x] = [g.input('h', [1, 4]), g.input('x', [1, 3])];
      const dense = (state: string) =>
        g.node('Add', [g.node('MatMul', [x, g.weight([3, 4], 0.4)]), g.node('MatMul', [state, g.weight([4, 4], 0.15)])]);
      const kept = g.node('Mul', [g.node('Mul', [g.node('Sigmoid', [dense(h)]), h]), g.floats([0.6])]);
      const fresh = g.node('Mul', [g.node('Softsign', [dense(h)]), g.floats([0.5])]);
      const next = g.node('Add', [kept, fresh], {}, ['h_next']);
      g.output(g.dense(next, 4, 2), [1, 2]);
      g.output(next, [1, 4]);
    },
  },
};

const range = { lower: -1, upper: 1 };
const longest = 24;

async function bounded(build: (g: TestGraph) => void): Promise<{ streaming: StreamingModel; bounds: StateMapBounds }> {
  const g = new TestGraph(17, new Random(9100));
  build(g);
  const bytes = g.bytes();
  const files = { name: 'm.onnx', read: () => Promise.resolve(bytes), readSibling: () => Promise.resolve(undefined) };
  const { streaming } = await openCheckpoint(files, { set: {}, states: {} }, runtime);
  const signals = stateSignals(streaming!);
  if (typeof signals === 'string') throw new Error(signals);
  const run = boundStateMap(signals.next, signals.outputs, initialState(streaming!), range, longest);
  let step = run.next();
  while (!step.done) step = run.next();
  expect(step.value).not.toBeNull();
  return { streaming: streaming!, bounds: step.value! };
}

describe.each(Object.keys(maps))('%s', (name) => {
  const { build, exactFrom } = maps[name]!;

  it('no state leaves the box, and no truncation errs by more than the bound', async () => {
    const { streaming, bounds } = await bounded(build);
    const map = await StateMap.load(
      streaming,
      streaming.outputs.map((o) => o.name),
      runtime,
    );
    const random = new Random(9200);
    const rounding = 1e-5;
    let largest = 0;
    for (let run = 0; run < 12; run++) {
      // Ends of the range, held for a while, push a state furthest.
      const held = random.int(1, 12);
      let frame = new Map<string, Float64Array>();
      const stream = Array.from({ length: 3 * longest }, (_, t) => {
        if (t % held === 0)
          frame = new Map(
            streaming.frames.map((f) => [
              f.name,
              Float64Array.from({ length: f.dims.reduce((a, b) => a * b, 1) }, () => random.pick([-1, 1])),
            ]),
          );
        return frame;
      });
      const seen: Float64Array[] = [];
      let state = map.initial();
      for (const x of stream) {
        const next = await map.step(state, x);
        state = next.state;
        seen.push(next.seen);
        state.forEach((v, i) => {
          expect(v).toBeGreaterThanOrEqual(bounds.state.lower[i]! - rounding);
          expect(v).toBeLessThanOrEqual(bounds.state.upper[i]! + rounding);
        });
      }
      const from = stream.length - longest;
      let fresh = map.initial();
      for (let k = 1; k <= longest; k++) {
        const next = await map.step(fresh, stream[from + k - 1]!);
        fresh = next.state;
        const error = next.seen.reduce((m, v, i) => Math.max(m, Math.abs(v - seen[from + k - 1]![i]!)), 0);
        expect(error, `k = ${k}`).toBeLessThanOrEqual(bounds.bound![k]! + rounding);
        if (k === 1) largest = Math.max(largest, error);
      }
    }
    await map.release();
    // What is cut off matters at first, and the bound says so.
    expect(largest).toBeGreaterThan(0.01);
    expect(bounds.lambda).toBeLessThan(1);
    expect(bounds.bound!.at(-1)).toBeLessThan(bounds.bound![1]!);
    if (exactFrom !== undefined) {
      expect(bounds.bound![exactFrom - 1]).toBeGreaterThan(0);
      expect(bounds.bound![exactFrom]).toBeLessThan(1e-300);
    }
  });
});

it('a state that grows without bound has no bounds', async () => {
  const g = new TestGraph(17, new Random(1));
  const next = g.node('Add', [g.input('state', [1, 2]), g.input('x', [1, 2])], {}, ['state_out']);
  g.output(g.node('Tanh', [next]), [1, 2]);
  g.output(next, [1, 2]);
  const bytes = g.bytes();
  const files = { name: 'm.onnx', read: () => Promise.resolve(bytes), readSibling: () => Promise.resolve(undefined) };
  const { streaming } = await openCheckpoint(files, { set: {}, states: {} }, runtime);
  const signals = stateSignals(streaming!);
  if (typeof signals === 'string') throw new Error(signals);
  const run = boundStateMap(signals.next, signals.outputs, initialState(streaming!), range, longest);
  let step = run.next();
  while (!step.done) step = run.next();
  expect(step.value).toBeNull();
});

it('an operator that mixes the state in an unknown way is named', async () => {
  const g = new TestGraph(17, new Random(1));
  const mixed = g.node('CumSum', [g.input('state', [1, 3]), g.integers([1], [])]);
  const next = g.node('Tanh', [g.node('Add', [mixed, g.input('x', [1, 3])])], {}, ['state_out']);
  g.output(g.node('Abs', [next]), [1, 3]);
  g.output(next, [1, 3]);
  const bytes = g.bytes();
  const files = { name: 'm.onnx', read: () => Promise.resolve(bytes), readSibling: () => Promise.resolve(undefined) };
  const { streaming } = await openCheckpoint(files, { set: {}, states: {} }, runtime);
  expect(stateSignals(streaming!)).toContain('CumSum');
});
