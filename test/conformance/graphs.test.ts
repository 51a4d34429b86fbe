import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { withOutputs } from '../../src/checkpoint/onnx/exposed.js';
import { readModel, writeModel } from '../../src/checkpoint/onnx/model.js';
import { readOnnx, type OnnxCheckpoint } from '../../src/checkpoint/onnx/reader.js';
import { DataType, type Tensor } from '../../src/checkpoint/onnx/tensor.js';
import { exportTruncated } from '../../src/jobs/export.js';
import { defaultCheckOptions, type CheckpointFiles, type ExportResult } from '../../src/jobs/jobs.js';
import { runCell } from '../../src/network/forward.js';
import { walkSignal } from '../../src/network/signal.js';
import { signalValue } from '../../src/network/signalValues.js';
import { stateSize } from '../../src/network/cell.js';
import { sourceSequences } from '../../src/measurement/sequences.js';
import { readModelInputs, syntheticBatch } from '../../src/samples/modelInputs.js';
import { styles, type Style } from '../support/exporters.js';
import { Random } from '../support/random.js';
import { largestError } from '../support/reference.js';
import { runModel, runtime } from '../support/runtime.js';
import { TestGraph } from '../support/testGraph.js';

/** Whole graphs as exporters write them: understood, computed by our equations, truncated and verified. */

const folder = mkdtempSync(join(tmpdir(), 'rnn-stability-exports-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let exported = 0;

const steps = 9;
const opsets = [7, 9, 11, 13, 17, 22];

function build(style: Style, opset: number, time: string | number): Uint8Array {
  const graph = new TestGraph(opset, new Random(7000 + opset));
  style.build(graph, time);
  return graph.bytes();
}

const inMemory = (bytes: Uint8Array, siblings: ReadonlyMap<string, Uint8Array> = new Map()): CheckpointFiles => ({
  name: 'model.onnx',
  read: () => Promise.resolve(bytes),
  readSibling: (name) => Promise.resolve(siblings.get(name)),
});

async function truncated(files: CheckpointFiles, length: number, opset: number): Promise<ExportResult> {
  const options = { ...defaultCheckOptions, maxLength: 10, length };
  const result = await exportTruncated(files, options, runtime, () => Promise.resolve());
  const operators = new Set(readModel(result.model).graph.node.map((n) => n.opType));
  expect([...operators].filter((op) => /^(RNN|LSTM|GRU|Loop|Scan|If)$/.test(op))).toEqual([]);
  expect(result.verification.summary).toContain('. Verified in ONNX Runtime');
  expect(result.verification.passed).toBe(true);
  if (opset <= 17) writeFileSync(join(folder, `${exported++}.onnx`), result.model);
  return result;
}

function feedsFor(checkpoint: OnnxCheckpoint, sequences: number, length: number) {
  return syntheticBatch(readModelInputs(checkpoint), { lower: -1, upper: 1 }, sequences, length, 42);
}

/** Y of every layer by signalValue and the cell equations, against the tensors inside ONNX Runtime. */
async function expectEquations(checkpoint: OnnxCheckpoint): Promise<void> {
  const axes = readModelInputs(checkpoint);
  const batch = feedsFor(checkpoint, axes.batch ?? 3, steps);
  const sources = (await sourceSequences(checkpoint, axes, batch, runtime))!;
  const names = checkpoint.nodes.map((n) => n.y);
  const inside = await runModel(writeModel(withOutputs(checkpoint.model, names)), batch.feeds);
  for (const [sequence, source] of sources.entries()) {
    const outputs: Float64Array[][] = [];
    for (const layer of checkpoint.network.layers) {
      const inputs = Array.from({ length: steps }, (_, t) =>
        signalValue(
          layer.input,
          (name) => source.get(name)![t]!,
          (below) => outputs[below]![t]!,
        ),
      );
      const runs = layer.directions.map(({ cell, reverse, initialState }) => {
        const initial = initialState === 'input' ? new Float64Array(stateSize(cell)) : initialState;
        const states = runCell(cell, reverse ? [...inputs].reverse() : inputs, initial);
        return reverse ? states.reverse() : states;
      });
      outputs.push(inputs.map((_, t) => Float64Array.from(runs.flatMap((run) => [...run[t]!.subarray(0, layer.hiddenSize)]))));
    }
    for (const [index, name] of names.entries()) {
      const y = inside.get(name)!;
      const [, directions, sequences, hidden] = y.dims as [number, number, number, number];
      const wanted = outputs[index]!.flatMap((_, t) =>
        Array.from({ length: directions }, (_, d) => {
          const from = ((t * directions + d) * sequences + sequence) * hidden;
          return [...y.data.subarray(from, from + hidden)];
        }).flat(),
      );
      expect(
        largestError(
          outputs[index]!.flatMap((v) => [...v]),
          wanted,
        ),
        name,
      ).toBeLessThan(1e-5);
    }
  }
}

/** Original and export on sequences of the window's own length: only rounding may lie between them. */
async function expectSameOn(original: Uint8Array, feeds: ReadonlyMap<string, Tensor>, result: ExportResult): Promise<void> {
  const [full, part] = [await runModel(original, feeds), await runModel(result.model, feeds)];
  for (const [name, tensor] of part) {
    const whole = full.get(name)!;
    if (whole.dims.length === tensor.dims.length && whole.dims.every((d, i) => d === tensor.dims[i])) {
      expect(largestError(tensor.data, whole.data), name).toBeLessThan(1e-5);
    } else {
      // The window speaks of one position only, which differs from the whole in one axis.
      const axis = whole.dims.findIndex((d, i) => d !== tensor.dims[i]);
      expect(tensor.dims[axis]).toBe(1);
      const inner = whole.dims.slice(axis + 1).reduce((a, b) => a * b, 1);
      const at = (position: number) => whole.data.filter((_, i) => Math.floor(i / inner) % whole.dims[axis]! === position);
      const positions = [Math.floor(whole.dims[axis]! / 2), whole.dims[axis]! - 1, 0];
      expect(Math.min(...positions.map((p) => largestError(tensor.data, at(p)))), name).toBeLessThan(1e-5);
    }
  }
}

describe.each(styles)('$name', (style) => {
  const fitting = opsets.filter((o) => o >= (style.minOpset ?? 0));

  it.each(fitting)('is understood and computed right at opset %i', async (opset) => {
    const checkpoint = readOnnx(build(style, opset, style.fixedOnly ? steps : 'time'), new Map());
    const { layers } = checkpoint.network;
    layers.forEach((layer, index) => {
      const kinds = new Set<string>();
      walkSignal(layer.input, (s) => {
        kinds.add(s.kind);
        if (s.kind === 'source') expect(s.operator, `input of ${layer.name}`).toBeNull();
      });
      if (index > 0) expect(kinds.has('layer'), `input of ${layer.name}`).toBe(true);
    });
    await expectEquations(checkpoint);
  });

  it.each(style.fixedOnly ? [] : fitting)('is truncated at opset %i where the time axis is free', async (opset) => {
    const bytes = build(style, opset, 'time');
    for (const k of opset === 13 ? [1, 3, 40] : [3]) {
      const result = await truncated(inMemory(bytes), k, opset);
      expect(result.verification).toMatchObject({ length: k, exactError: expect.any(Number) as number });
      const input = readModel(result.model).graph.input[0]!;
      const checkpoint = readOnnx(bytes, new Map());
      const axis = readModelInputs(checkpoint).inputs[0]!.timeAxis!;
      const type = input.type!.value;
      const size = type.case === 'tensorType' ? type.value.shape!.dim[axis]!.value.value : null;
      await expectSameOn(bytes, feedsFor(checkpoint, 2, Number(size)).feeds, result);
    }
  });

  it.each([9, 13, 22].filter((o) => fitting.includes(o)))(
    'is truncated at opset %i where the time axis is fixed',
    async (opset) => {
      const bytes = build(style, opset, steps);
      const short = await truncated(inMemory(bytes), 3, opset);
      expect(short.verification.length).toBe(3);
      const whole = await truncated(inMemory(bytes), steps, opset);
      expect(whole.verification).toMatchObject({ length: steps, basis: 'full' });
      await expectSameOn(bytes, feedsFor(readOnnx(bytes, new Map()), 2, steps).feeds, whole);
    },
  );
});

describe('a mean over time', () => {
  const mean: Style = {
    name: 'mean over time',
    build(g, time) {
      const { y } = g.recurrent('GRU', g.input('x', [time, 'batch', 3]), { hidden: 4, input: 3 });
      g.output(g.node('ReduceMean', [g.squeeze(y, 1)], { axes: [0], keepdims: 0 }), ['batch', 4]);
    },
  };
  const run = (time: string | number, length: number) => truncated(inMemory(build(mean, 13, time)), length, 13);

  it('cannot be truncated where the time axis is free', async () => {
    await expect(run('time', 4)).rejects.toMatchObject({
      code: 'needs-whole-sequence',
      message: expect.stringMatching(/through ReduceMean \(node .*\), and the sequence may have any length$/) as string,
    });
  });

  it('needs the whole sequence where it is fixed', async () => {
    await expect(run(steps, 4)).rejects.toMatchObject({
      code: 'needs-whole-sequence',
      message: expect.stringContaining(`export with --length ${steps}`) as string,
    });
    expect((await run(steps, steps)).verification.passed).toBe(true);
  });
});

describe('lengths that the error curve of a bidirectional stack leaves out', () => {
  it('have no certified bound, where those on the curve have one', async () => {
    const bidirectional = styles.find((s) => s.name.includes('bidirectional LSTM stack'))!;
    const files = inMemory(build(bidirectional, 13, 'time'));
    const on = await exportTruncated(files, { ...defaultCheckOptions, maxLength: 13, length: 11 }, runtime, () =>
      Promise.resolve(),
    );
    const off = await exportTruncated(files, { ...defaultCheckOptions, maxLength: 13, length: 12 }, runtime, () =>
      Promise.resolve(),
    );
    expect(on.verification.bound).toBeGreaterThan(0);
    expect(off.verification).toMatchObject({ bound: null, basis: 'user', passed: true });
  });
});

describe('external data', () => {
  it('is read from beside the model and stored inside the export', async () => {
    const bytes = build(styles[0]!, 13, 'time');
    const model = readModel(bytes);
    const parts: Uint8Array[] = [];
    let offset = 0;
    for (const tensor of model.graph.initializer.filter((t) => t.dataType === DataType.FLOAT)) {
      const data = tensor.rawData;
      parts.push(data);
      tensor.externalData = Object.entries({ location: 'weights.bin', offset, length: data.length }).map(([key, value]) => ({
        $typeName: 'onnx.StringStringEntryProto',
        key,
        value: String(value),
      }));
      tensor.dataLocation = 1;
      tensor.rawData = new Uint8Array();
      offset += data.length;
    }
    const external = new Map([['weights.bin', Uint8Array.from(parts.flatMap((p) => [...p]))]]);
    const files = inMemory(writeModel(model), external);
    const inline = await truncated(inMemory(bytes), 3, 13);
    const result = await truncated(files, 3, 13);
    expect(readModel(result.model).graph.initializer).toEqual(readModel(inline.model).graph.initializer);
  });
});

const python = '/usr/bin/python3';
const hasChecker = spawnSync(python, ['-c', 'import onnx']).status === 0;

describe.skipIf(!hasChecker)('onnx.checker', () => {
  it('accepts every exported file in full', () => {
    expect(exported).toBeGreaterThan(50);
    const script = [
      'import glob, onnx, sys',
      'for f in sorted(glob.glob(sys.argv[1] + "/*.onnx")):',
      '    try: onnx.checker.check_model(onnx.load(f), full_check=True)',
      '    except Exception as e: print(f, str(e).splitlines()[0])',
    ].join('\n');
    const { stdout, stderr, status } = spawnSync(python, ['-c', script, folder], { encoding: 'utf8' });
    expect(status, stderr).toBe(0);
    expect(stdout).toBe('');
  });
});
