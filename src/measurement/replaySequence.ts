import { create } from '@bufbuild/protobuf';
import { plain, withOutputs } from '../checkpoint/onnx/exposed.js';
import { writeModel } from '../checkpoint/onnx/model.js';
import { GraphProtoSchema, NodeProtoSchema } from '../checkpoint/onnx/onnx_pb.js';
import type { OnnxCheckpoint } from '../checkpoint/onnx/reader.js';
import type { Tensor } from '../checkpoint/onnx/tensor.js';
import { BadInputError } from '../errors.js';
import type { CausalSystem } from '../network/causalSystem.js';
import { distance } from '../network/causalSystem.js';
import { refusedBy, type InferenceRuntime } from '../runtime/inference.js';
import { concreteDims, indexIn, type InputAxes, type ModelInput } from '../samples/modelInputs.js';
import type { History } from './history.js';

/**
 * Feeds two histories to a model of whole sequences in ONNX Runtime.
 * @returns max |Δh| of the system's outputs after each of the last `commonSteps` steps, entry 0 before them; null where ONNX
 * Runtime refuses the model
 */
export async function replaySequence(
  { model, nodes }: OnnxCheckpoint,
  axes: InputAxes,
  system: CausalSystem,
  histories: readonly [History, History],
  commonSteps: number,
  runtime: InferenceRuntime,
): Promise<Float64Array | null> {
  // Some models ask only for the last h of a layer; its h at every step is one more output of the node.
  const sequenceOf = new Map(system.outputs.map(({ layer }) => [layer, nodes[layer]!.y || `${nodes[layer]!.node.name}/every_h`]));
  const node = model.graph.node.map((n) => {
    const layer = [...sequenceOf.keys()].find((l) => nodes[l]!.node === n && nodes[l]!.y === '');
    return layer === undefined
      ? n
      : create(NodeProtoSchema, { ...plain(n), output: [sequenceOf.get(layer)!, ...n.output.slice(1)] });
  });
  const graph = create(GraphProtoSchema, { ...plain(model.graph), node, output: [] });
  try {
    const session = await runtime.load(writeModel(withOutputs({ ...model, graph }, [...sequenceOf.values()]))).catch(refused);
    try {
      const outputs = [];
      for (const history of histories) {
        const feeds = new Map(axes.inputs.map((input) => [input.name, fed(input, axes.batch ?? 1, history, system.reverse)]));
        outputs.push(await session.run(feeds).catch(refused));
      }
      const [a, b] = outputs as [Map<string, Tensor>, Map<string, Tensor>];
      const total = histories[0].steps;
      return Float64Array.from({ length: commonSteps + 1 }, (_, i) => {
        const t = total - 1 - commonSteps + i;
        return system.outputs.reduce((largest, { layer, direction, cell }) => {
          const name = sequenceOf.get(layer)!;
          const h = (of: Map<string, Tensor>) => {
            const { dims, data } = of.get(name)!;
            const position = system.reverse ? total - 1 - t : t;
            // [time, directions, batch, H] or [batch, time, directions, H]; all sequences of the batch are alike.
            const [directions, batch] = nodes[layer]!.layout === 0 ? [dims[1]!, dims[2]!] : [dims[2]!, 1];
            const at = (position * directions + direction) * batch * cell.hiddenSize;
            return data.subarray(at, at + cell.hiddenSize);
          };
          return Math.max(largest, distance(h(a), h(b)));
        }, 0);
      });
    } finally {
      await session.release();
    }
  } catch (error) {
    if (error instanceof BadInputError && error.code === 'runtime-refused') return null;
    throw error;
  }
}

const refused = (error: unknown) => refusedBy(error, 'the witness cannot be replayed');

/** One input for every sequence of the batch; what drives nothing is zero. */
function fed(input: ModelInput, batch: number, history: History, reverse: boolean): Tensor {
  const dims = concreteDims(input, batch, history.steps);
  const data = new Float64Array(dims.reduce((a, b) => a * b, 1));
  if (input.isLength) data.fill(history.steps);
  else if (input.timeAxis !== null) {
    const { step, feature } = indexIn(input, dims);
    for (let i = 0; i < data.length; i++) {
      const t = step(i);
      data[i] = history.at(input.name, reverse ? history.steps - 1 - t : t)?.[feature(i)] ?? 0;
    }
  }
  return { type: input.type, dims, data };
}
