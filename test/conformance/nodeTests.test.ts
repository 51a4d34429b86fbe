import { create, fromBinary } from '@bufbuild/protobuf';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { plain } from '../../src/checkpoint/onnx/exposed.js';
import { readModel, writeModel } from '../../src/checkpoint/onnx/model.js';
import { GraphProtoSchema, ModelProtoSchema, TensorProtoSchema } from '../../src/checkpoint/onnx/onnx_pb.js';
import { readOnnx, type OnnxCheckpoint } from '../../src/checkpoint/onnx/reader.js';
import { readTensor, tensorProto, type Tensor } from '../../src/checkpoint/onnx/tensor.js';
import { truncateToWindow } from '../../src/truncation/window.js';
import { checkpointPath } from '../support/checkpoints.js';
import { largestError, runNode } from '../support/reference.js';
import { runModel } from '../support/runtime.js';

/**
 * ONNX's own node tests for RNN, LSTM and GRU (Debian's libonnx-testdata, or the copy among the checkpoints). Everything is a
 * graph input there; the weights become initializers, which is what a checkpoint has.
 */
const folder = [checkpointPath('onnx-node-tests-debian'), '/usr/share/libonnx-testdata/data/node'].find((f) => existsSync(f));
const cases = folder === undefined ? [] : readdirSync(folder).filter((name) => /^test_(simple_rnn|rnn|lstm|gru)_/.test(name));

interface NodeTest {
  readonly checkpoint: OnnxCheckpoint;
  /** Values of the graph's inputs that stay inputs. */
  readonly feeds: Map<string, Tensor>;
  readonly expected: Map<string, Tensor>;
}

function readNodeTest(name: string): NodeTest {
  const path = (file: string) => join(folder!, name, file);
  const model = readModel(readFileSync(path('model.onnx')));
  const read = (kind: 'input' | 'output', ports: readonly { name: string }[]) =>
    new Map(
      ports.map(({ name: port }, i) => {
        const tensor = fromBinary(TensorProtoSchema, readFileSync(path(`test_data_set_0/${kind}_${i}.pb`)));
        return [port, readTensor(tensor, new Map())] as const;
      }),
    );
  const inputs = read('input', model.graph.input);
  // X, sequence_lens and the initial states stay inputs.
  const slots = [0, 4, 5, 6].map((i) => model.graph.node[0]!.input[i]).filter((n) => n !== undefined && n !== '');
  const bound = [...inputs].filter(([port]) => !slots.includes(port));
  const graph = create(GraphProtoSchema, {
    ...plain(model.graph),
    initializer: bound.map(([port, t]) => tensorProto(port, t.type, t.dims, t.data)),
    input: model.graph.input.filter((info) => slots.includes(info.name)),
  });
  const bytes = writeModel(create(ModelProtoSchema, { ...plain(model), graph }));
  return {
    checkpoint: readOnnx(bytes, new Map()),
    feeds: new Map([...inputs].filter(([port]) => slots.includes(port))),
    expected: read('output', model.graph.output),
  };
}

describe.skipIf(folder === undefined)('ONNX node tests', () => {
  it('are all found', () => expect(cases.length).toBeGreaterThanOrEqual(12));

  describe.each(cases)('%s', (name) => {
    it('gives the expected outputs by the cell equations', () => {
      const { checkpoint, feeds, expected } = readNodeTest(name);
      const node = checkpoint.nodes[0]!;
      const got = runNode(node, (input) => feeds.get(input)!);
      let compared = 0;
      for (const [output, values] of [
        [node.y, got.y],
        [node.yH, got.yH],
        [node.yC, got.yC],
      ] as const) {
        const wanted = output === '' ? undefined : expected.get(output);
        if (!wanted || !values) continue;
        expect(largestError(values, wanted.data), output).toBeLessThan(1e-5);
        compared++;
      }
      expect(compared).toBe(expected.size);
    });

    it('gives the expected outputs as an unrolled graph in ONNX Runtime', async () => {
      const { checkpoint, feeds, expected } = readNodeTest(name);
      const { x, layout } = checkpoint.nodes[0]!;
      const length = feeds.get(x)!.dims[layout === 0 ? 0 : 1]!;
      const { model } = truncateToWindow(checkpoint, length, length);
      expect(model.graph.node.some((n) => ['RNN', 'LSTM', 'GRU'].includes(n.opType))).toBe(false);
      const got = await runModel(writeModel(model), feeds);
      for (const [output, wanted] of expected) {
        expect(got.get(output)!.dims, output).toEqual(wanted.dims);
        expect(largestError(got.get(output)!.data, wanted.data), output).toBeLessThan(1e-5);
      }
    });
  });
});
