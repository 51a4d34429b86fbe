import { describe, expect, it } from 'vitest';
import { BadInputError } from '../../src/errors.js';
import { check } from '../../src/jobs/check.js';
import { defaultCheckOptions } from '../../src/jobs/jobs.js';
import { Random } from '../support/random.js';
import { runtime } from '../support/runtime.js';
import { checkpointFiles, filesOf, sharded, type ModelJson, type TfjsFiles } from '../support/tfjsFiles.js';

/** TF.js files that cannot be used: one error each, with its code, that names the layer, the shard or the place. */

type Layer = { class_name: string; config: Record<string, unknown> };
const lstm: Layer = { class_name: 'LSTM', config: { name: 'memory', units: 3, batch_input_shape: [null, null, 2] } };
const dense: Layer = { class_name: 'Dense', config: { name: 'head', units: 2 } };
const weights = [
  { name: 'memory/kernel', shape: [2, 12], dtype: 'float32' },
  { name: 'memory/recurrent_kernel', shape: [3, 12], dtype: 'float32' },
  { name: 'memory/bias', shape: [12], dtype: 'float32' },
  { name: 'head/kernel', shape: [3, 2], dtype: 'float32' },
  { name: 'head/bias', shape: [2], dtype: 'float32' },
];
const count = weights.reduce((sum, w) => sum + w.shape.reduce((a, b) => a * b), 0);
const values = () => Float32Array.from(new Random(1).floats(count));
const bytes = (numbers = values()) => new Uint8Array(numbers.buffer);
const json = (
  layers: readonly Layer[] = [lstm, dense],
  entries: ModelJson['weightsManifest'][number]['weights'] = weights,
): ModelJson => ({
  modelTopology: { class_name: 'Sequential', config: { name: 'm', layers }, keras_version: 'tfjs-layers 4.22.0' },
  weightsManifest: [{ paths: ['weights.bin'], weights: entries }],
});
const files = (model: unknown = json(), data = bytes()) => filesOf(model, { 'weights.bin': data });
const text = (content: string): TfjsFiles => new Map([['model.json', new TextEncoder().encode(content)]]);

async function refusal(checkpoint: TfjsFiles): Promise<BadInputError> {
  const error: unknown = await check(checkpointFiles(checkpoint), { ...defaultCheckOptions, maxLength: 4 }, runtime, () =>
    Promise.resolve(),
  ).then(
    () => null,
    (e: unknown) => e,
  );
  if (!(error instanceof BadInputError)) throw new Error(`expected a BadInputError, got ${String(error)}`);
  expect(error.message).not.toContain('\n');
  return error;
}

const without = (key: string, from: Record<string, unknown>) =>
  Object.fromEntries(Object.entries(from).filter(([k]) => k !== key));
const changed = (layer: Layer, config: Record<string, unknown>): Layer => ({ ...layer, config: { ...layer.config, ...config } });

it('the untouched model is read', async () => {
  const report = await check(checkpointFiles(files()), { ...defaultCheckOptions, maxLength: 4 }, runtime, () =>
    Promise.resolve(),
  );
  expect(report).toMatchObject({ format: 'tfjs', layers: [{ name: 'memory', cell: 'lstm' }], model: { opset: 17 } });
});

describe('shards', () => {
  const split = () => sharded(json(), bytes(), 3, 100, '.bin');
  const names = () => [...split().keys()].slice(1);

  it('missing', async () => {
    const all = split();
    all.delete(names()[1]!);
    expect(await refusal(all)).toMatchObject({
      code: 'missing-shard',
      message: expect.stringContaining(`"${names()[1]}" is missing`) as string,
    });
  });

  it('truncated and too long', async () => {
    for (const [change, words] of [
      [-1, 'a file is truncated'],
      [-100, 'a file is truncated'],
      [4, 'a file is too long'],
    ] as const) {
      const length = bytes().length + change;
      const data = new Uint8Array(length);
      data.set(bytes().subarray(0, length));
      const { code, message } = await refusal(files(json(), data));
      expect(code).toBe('bad-shard');
      expect(message).toContain(`group 1 needs ${bytes().length} bytes but its files hold ${length}`);
      expect(message).toContain(words);
      expect(message).toContain('"weights.bin"');
    }
  });

  it('swapped on disk', async () => {
    const all = split();
    const [first, , third] = names() as [string, string, string];
    const [a, b] = [all.get(first)!, all.get(third)!];
    expect(a.length).not.toBe(b.length);
    all.set(first, b).set(third, a);
    expect(await refusal(all)).toMatchObject({ code: 'bad-shard', message: expect.stringContaining('was swapped') as string });
  });

  it('swapped between groups', async () => {
    const all = sharded(json(), bytes(), 3, 1 << 20);
    const [first, second] = [...all.keys()].slice(1) as [string, string];
    const [a, b] = [all.get(first)!, all.get(second)!];
    all.set(first, b).set(second, a);
    expect(await refusal(all)).toMatchObject({ code: 'bad-shard', message: expect.stringContaining(first) as string });
  });

  it('listed in another order than they are numbered', async () => {
    const all = split();
    const model = JSON.parse(new TextDecoder().decode(all.get('model.json'))) as ModelJson;
    model.weightsManifest[0]!.paths.reverse();
    all.set('model.json', new TextEncoder().encode(JSON.stringify(model)));
    expect(await refusal(all)).toMatchObject({
      code: 'bad-shard',
      message: expect.stringContaining('swapped or incomplete') as string,
    });
  });

  it('a Git LFS pointer, and a path that leaves the folder', async () => {
    const pointer = new TextEncoder().encode('version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n');
    expect(await refusal(files(json(), pointer))).toMatchObject({
      code: 'git-lfs-pointer',
      message: expect.stringContaining('"weights.bin"') as string,
    });
    const outside = json();
    outside.weightsManifest[0]!.paths = ['../weights.bin'];
    expect(await refusal(files(outside))).toMatchObject({ code: 'external-data-outside' });
  });

  it.each<[string, object]>([
    ['shape', { shape: [-1, 12] }],
    ['element type', { dtype: 'string' }],
    ['quantisation', { quantization: { dtype: 'uint4', scale: 1, min: 0 } }],
    ['quantisation without scale', { quantization: { dtype: 'uint8' } }],
    ['size', { shape: [2 ** 30, 2 ** 30] }],
  ])('a manifest with an impossible %s', async (_, change) => {
    const entries = weights.map((w, i) => (i === 0 ? { ...w, ...change } : w));
    expect(await refusal(files(json([lstm, dense], entries)))).toMatchObject({
      code: 'bad-manifest',
      message: expect.stringContaining('memory/kernel') as string,
    });
  });

  it('weights that memory cannot hold are refused before they are read', async () => {
    const entries = weights.map((w, i) => (i === 0 ? { ...w, shape: [2 ** 20, 2 ** 12] } : w));
    expect(await refusal(files(json([lstm, dense], entries)))).toMatchObject({ code: 'too-large' });
  });
});

describe('weights of a layer', () => {
  it('missing', async () => {
    const entries = weights.filter((w) => w.name !== 'memory/bias');
    const error = await refusal(files(json([lstm, dense], entries), bytes().slice(48)));
    expect(error).toMatchObject({
      code: 'missing-weight',
      message: 'layer memory (LSTM): its weight "bias" is not among the weights of the manifest',
    });
    expect(error.place?.startLine).toBe(1);
  });

  it('of another shape', async () => {
    const error = await refusal(files(json([changed(lstm, { units: 4 }), dense])));
    expect(error).toMatchObject({
      code: 'bad-shape',
      message: expect.stringContaining('memory/kernel has shape [2, 12] where [2, 16] is needed') as string,
    });
  });

  it('not finite', async () => {
    const broken = values();
    broken[30] = NaN;
    expect(await refusal(files(json(), bytes(broken)))).toMatchObject({
      code: 'weights-not-finite',
      message: 'layer memory (LSTM): its weight memory/recurrent_kernel holds NaN at position 6',
    });
  });
});

describe('layers', () => {
  const other = (class_name: string, config: Record<string, unknown> = {}): Layer => ({
    class_name,
    config: { name: 'odd', ...config },
  });
  it.each<[string, Layer[], string, string]>([
    ['Lambda', [lstm, other('Lambda')], 'unknown-layer', 'layer odd (Lambda): a Lambda layer is code'],
    [
      'an unknown class',
      [lstm, other('Attention')],
      'unknown-layer',
      'layer odd (Attention): layers of this class are not understood',
    ],
    ['a class named like a property of objects', [lstm, other('constructor')], 'unknown-layer', 'layer odd (constructor)'],
    [
      'a cell of another kind',
      [other('RNN', { cell: { class_name: 'Odd', config: { name: 'c' } }, batch_input_shape: [null, 2, 2] })],
      'unknown-layer',
      'layer c (Odd)',
    ],
    [
      'an unknown activation',
      [lstm, other('Activation', { activation: 'odd' })],
      'unknown-layer',
      'its activation odd is not understood',
    ],
    [
      'units that are no number',
      [changed(lstm, { units: 'three' }), dense],
      'bad-layer',
      'layer memory (LSTM): its "units" is "three", not a number',
    ],
    ['no units', [{ ...lstm, config: without('units', lstm.config) }, dense], 'bad-layer', 'its "units" is null'],
    [
      'an option of the wrong type',
      [changed(lstm, { go_backwards: 1 }), dense],
      'bad-layer',
      'its "go_backwards" is 1, not true or false',
    ],
    [
      'no input shape',
      [{ ...lstm, config: without('batch_input_shape', lstm.config) }, dense],
      'bad-topology',
      'states no input shape',
    ],
    [
      'an input of the wrong rank',
      [changed(lstm, { batch_input_shape: [null, 2] }), dense],
      'bad-topology',
      'its input [?, 2] has 2 dimensions where it takes 3',
    ],
    [
      'an impossible Reshape',
      [lstm, other('Reshape', { target_shape: [2, 2] })],
      'bad-topology',
      'its input of 3 numbers cannot take the shape [2, 2]',
    ],
    [
      'a Bidirectional of another mode',
      [other('Bidirectional', { layer: lstm, merge_mode: 'odd', batch_input_shape: [null, 2, 2] })],
      'bad-layer',
      'its merge_mode is "odd"',
    ],
  ])('%s', async (_, layers, code, message) => {
    const error = await refusal(files(json(layers)));
    expect(error.code).toBe(code);
    expect(error.message).toContain(message);
    expect(error.place).toBeDefined();
  });

  it('names the place of the layer, in lines and columns', async () => {
    const model = JSON.stringify(json([lstm, other('Lambda')]), null, 2);
    const { place } = await refusal(new Map([...text(model), ['weights.bin', bytes()]]));
    const lines = model.split('\n');
    expect(lines[place!.startLine - 1]!.slice(place!.startColumn - 1)).toBe('{');
    expect(lines[place!.startLine]).toContain('"class_name": "Lambda"');
    expect(lines[place!.endLine - 1]!.slice(0, place!.endColumn - 1).trim()).toBe('}');
  });

  const functional = (layers: object[], outputs: unknown) => ({
    ...json(),
    modelTopology: {
      class_name: 'Functional',
      config: { name: 'f', layers, input_layers: [['x', 0, 0]], output_layers: outputs },
    },
  });
  const x = { name: 'x', class_name: 'InputLayer', config: { name: 'x', batch_input_shape: [null, null, 2] }, inbound_nodes: [] };
  const memory = (from: string) => ({
    name: 'memory',
    class_name: 'LSTM',
    config: { name: 'memory', units: 3 },
    inbound_nodes: [[[from, 0, 0, {}]]],
  });
  it.each<[string, object, string]>([
    [
      'a tensor of no layer',
      functional([x, memory('nothing')], [['memory', 0, 0]]),
      'a layer "nothing" that the model does not have',
    ],
    ['a circle', functional([x, memory('memory')], [['memory', 0, 0]]), 'is made by no layer, or by itself'],
    [
      'an output that a layer does not have',
      functional([x, memory('x')], [['memory', 0, 3]]),
      'its output 4, which it does not have',
    ],
    ['no outputs', functional([x, memory('x')], []), 'it names no output_layers'],
    [
      'two layers of one name',
      functional([x, memory('x'), memory('x')], [['memory', 0, 0]]),
      'another layer of the model has the same name',
    ],
  ])('%s', async (_, model, message) => {
    expect(await refusal(files(model))).toMatchObject({
      code: 'bad-topology',
      message: expect.stringContaining(message) as string,
    });
  });
});

describe('texts', () => {
  it('that are no TF.js model', async () => {
    for (const content of [
      '{}',
      '[]',
      '[1, 2]',
      '{"name": "package"}',
      '{"modelTopology": 3}',
      '  {"a": {"class_name": "LSTM"}}',
    ]) {
      expect(await refusal(text(content))).toMatchObject({ code: 'not-tfjs' });
    }
    expect(await refusal(text(''))).toMatchObject({ code: 'empty-file' });
  });

  it('cut off anywhere', async () => {
    const whole = JSON.stringify(json());
    for (const share of [0.05, 0.3, 0.6, 0.95]) {
      const { code, message } = await refusal(text(whole.slice(0, Math.floor(whole.length * share))));
      expect(code).toBe('damaged-file');
      expect(message).toMatch(/^line 1, column \d+: /);
    }
  });

  it('nested deep enough to end the stack', async () => {
    for (const depth of [500, 200_000])
      expect(await refusal(text('{"modelTopology":' + '['.repeat(depth)))).toMatchObject({ code: 'damaged-file' });
  });

  it('with comments, or no UTF-8', async () => {
    expect(await refusal(text('{ /* no */ }'))).toMatchObject({ code: 'damaged-file' });
    expect(await refusal(new Map([['model.json', Uint8Array.of(0x7b, 0xff, 0xfe)]]))).toMatchObject({ code: 'damaged-file' });
  });

  it('with keys that are properties of every object', async () => {
    const model = JSON.stringify(json()).replace('"units":3', '"units":3,"__proto__":{"units":9},"hasOwnProperty":1');
    const report = await check(
      checkpointFiles(new Map([...text(model), ['weights.bin', bytes()]])),
      { ...defaultCheckOptions, maxLength: 4 },
      runtime,
      () => Promise.resolve(),
    );
    expect(report.layers[0]!.hiddenSize).toBe(3);
  });

  it('with single characters changed: read, or one BadInputError, never anything else', async () => {
    const whole = JSON.stringify(json());
    const random = new Random(90);
    const outcomes = new Set<string>();
    for (let i = 0; i < 300; i++) {
      const at = random.int(0, whole.length - 1);
      const broken = whole.slice(0, at) + random.pick([...'{}[]",:0159-.eatn_ ']) + whole.slice(at + 1);
      const error: unknown = await check(
        checkpointFiles(new Map([...text(broken), ['weights.bin', bytes()]])),
        { ...defaultCheckOptions, maxLength: 2 },
        runtime,
        () => Promise.resolve(),
      ).then(
        () => null,
        (e: unknown) => e,
      );
      if (error !== null) expect(error, broken.slice(Math.max(0, at - 30), at + 30)).toBeInstanceOf(BadInputError);
      outcomes.add(error === null ? 'read' : 'refused');
    }
    expect(outcomes).toEqual(new Set(['read', 'refused']));
  });
});

describe('graph models', () => {
  const node = (name: string, op: string) => ({ name, op, input: [], attr: {} });
  const graph = (nodes: object[], library: object = {}) => ({
    format: 'graph-model',
    modelTopology: { node: nodes, library, versions: {} },
    weightsManifest: [],
  });
  it('whose recurrence is a While loop', async () => {
    for (const model of [
      graph([node('x', 'Placeholder'), node('lstm/while', 'StatelessWhile')]),
      graph([node('x', 'PartitionedCall')], { function: [{ nodeDef: [node('lstm/while', 'While')] }] }),
    ]) {
      const error = await refusal(files(model));
      expect(error).toMatchObject({
        code: 'recurrence-in-control-flow',
        message: expect.stringContaining('a While loop (node lstm/while)') as string,
      });
      expect(error.place).toBeDefined();
    }
  });
  it('without a loop', async () => {
    expect(await refusal(files(graph([node('x', 'Placeholder'), node('y', 'MatMul')])))).toMatchObject({ code: 'no-recurrence' });
  });
});

it('a layers model without recurrence needs none of its layers understood', async () => {
  const model = json([{ class_name: 'Odd', config: { name: 'odd' } }]);
  expect(await refusal(files(model))).toMatchObject({ code: 'no-recurrence' });
});
