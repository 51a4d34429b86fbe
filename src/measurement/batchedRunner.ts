import { create } from '@bufbuild/protobuf';
import { declared } from '../checkpoint/onnx/exposed.js';
import { writeModel } from '../checkpoint/onnx/model.js';
import { GraphProtoSchema, ModelProtoSchema, OperatorSetIdProtoSchema } from '../checkpoint/onnx/onnx_pb.js';
import { DataType, type Tensor } from '../checkpoint/onnx/tensor.js';
import { gatesOf } from '../network/cell.js';
import type { RecurrentLayer, RecurrentNetwork } from '../network/network.js';
import { walkSignal } from '../network/signal.js';
import type { InferenceRuntime, InferenceSession } from '../runtime/inference.js';
import { GraphBuilder } from '../checkpoint/onnx/graphBuilder.js';
import { DirectionUnroller } from '../truncation/unroll.js';
import { startState } from './cellRunner.js';
import { signalNodes } from './signalNodes.js';
import { longestOf, outputWidth, type Window, type WindowRunner, type WindowRuns } from './windowRuns.js';

/**
 * Windows run batched in ONNX Runtime. Each direction of a layer becomes a model of a few unrolled steps that takes and gives
 * its state: products of whole batches with MatMul run two to three times as fast as ONNX Runtime's own LSTM does, and are there in float64 too.
 */

/** Steps that one model takes at once: enough that calling it costs little beside its work. */
const unrolledSteps = 16;
const opset = 17;

interface DirectionModel {
  readonly session: InferenceSession;
  /** Sources of features, sources of tokens, and layers below that the model reads. */
  readonly sources: readonly { readonly name: string; readonly tokens: boolean; readonly size: number }[];
  readonly below: readonly number[];
  readonly isLstm: boolean;
}

async function loadDirection(
  network: RecurrentNetwork,
  layer: RecurrentLayer,
  direction: number,
  type: DataType,
  runtime: InferenceRuntime,
): Promise<DirectionModel> {
  const { cell } = layer.directions[direction]!;
  const isLstm = cell.kind === 'lstm';
  const sources = new Map<string, DirectionModel['sources'][number]>();
  const below = new Set<number>();
  walkSignal(layer.input, (s) => {
    if (s.kind === 'source') sources.set(s.name, { name: s.name, tokens: false, size: s.size });
    if (s.kind === 'table') sources.set(s.source, { name: s.source, tokens: true, size: 1 });
    if (s.kind === 'layer') below.add(s.layer);
  });
  const g = new GraphBuilder('measure', opset, type);
  const x = signalNodes(
    g,
    layer.input,
    (name) => `source ${name}`,
    (index) => `layer ${index}`,
    'zeros',
  );
  const unroller = new DirectionUnroller(g, cell, 'cell', x, unrolledSteps, gatesOf(cell));
  let h = 'h';
  let c: string | null = isLstm ? 'c' : null;
  const hidden: string[] = [];
  for (let s = 0; s < unrolledSteps; s++) {
    const next = unroller.step(s, h, c);
    h = next.h;
    c = isLstm ? next.c : null;
    hidden.push(h);
  }
  g.concat(hidden, 0, 'hidden');
  g.node('Identity', [h], [], ['h last']);
  if (c !== null) g.node('Identity', [c], [], ['c last']);
  const steps = unrolledSteps;
  const state = [1, null, cell.hiddenSize];
  const graph = create(GraphProtoSchema, {
    name: 'measure',
    node: g.nodes,
    initializer: g.initializers,
    input: [
      ...[...sources.values()].map(({ name, tokens, size }) =>
        tokens
          ? declared(`source ${name}`, DataType.INT64, [steps, null])
          : declared(`source ${name}`, type, [steps, null, size]),
      ),
      ...[...below].map((index) => declared(`layer ${index}`, type, [steps, null, outputWidth(network.layers[index]!)])),
      declared('zeros', type, [steps, null, 1]),
      declared('h', type, state),
      ...(isLstm ? [declared('c', type, state)] : []),
    ],
    output: [
      declared('hidden', type, [steps, null, cell.hiddenSize]),
      declared('h last', type, state),
      ...(isLstm ? [declared('c last', type, state)] : []),
    ],
  });
  const model = create(ModelProtoSchema, {
    irVersion: 8n,
    opsetImport: [create(OperatorSetIdProtoSchema, { domain: '', version: BigInt(opset) })],
    graph,
  });
  const session = await runtime.load(writeModel(model));
  return { session, sources: [...sources.values()], below: [...below], isLstm };
}

/**
 * @param type FLOAT, whose rounding shows below about 10⁻⁵, or DOUBLE, which takes about three times as long
 * @throws Error when ONNX Runtime lacks an operator that a cell needs in this type
 */
export async function batchedRunner(
  network: RecurrentNetwork,
  type: DataType.FLOAT | DataType.DOUBLE,
  runtime: InferenceRuntime,
): Promise<WindowRunner> {
  const models: DirectionModel[][] = [];
  const release = async () => {
    for (const { session } of models.flat()) await session.release();
  };
  try {
    for (const layer of network.layers) {
      const directions: DirectionModel[] = [];
      models.push(directions);
      for (const d of layer.directions.keys()) directions.push(await loadDirection(network, layer, d, type, runtime));
    }
  } catch (error) {
    await release();
    throw error;
  }
  return { largestBatch: 2 ** 22, run: (windows) => run(network, models, windows, type), release };
}

async function run(
  network: RecurrentNetwork,
  models: readonly (readonly DirectionModel[])[],
  windows: readonly Window[],
  type: DataType,
): Promise<WindowRuns> {
  const steps = longestOf(windows);
  const widths = network.layers.map(outputWidth);
  const hidden = widths.map((width) => new Float64Array(windows.length * steps * width));
  const batch = windows.length;
  for (const [index, layer] of network.layers.entries()) {
    for (const [d, direction] of layer.directions.entries()) {
      const model = models[index]![d]!;
      const n = layer.hiddenSize;
      const start = startState(direction);
      const states = ['h', 'c'].slice(0, start.length / n).map((name, part) => {
        const data = new Float64Array(batch * n);
        for (let w = 0; w < batch; w++) data.set(start.subarray(part * n, (part + 1) * n), w * n);
        return [name, { type, dims: [1, batch, n], data }] as [string, Tensor];
      });
      for (let first = 0; first < steps; first += unrolledSteps) {
        /** Position in its window that is a direction's s-th step; behind the end of a shorter window the last one, again. */
        const position = (window: Window, s: number) => {
          const length = window.to - window.from;
          const reached = Math.min(first + s, length - 1);
          return direction.reverse ? length - 1 - reached : reached;
        };
        const gather = (size: number, copy: (window: Window, w: number, p: number, into: Float64Array, at: number) => void) => {
          const data = new Float64Array(unrolledSteps * batch * size);
          for (let s = 0; s < unrolledSteps; s++)
            windows.forEach((window, w) => copy(window, w, position(window, s), data, (s * batch + w) * size));
          return data;
        };
        const feeds = new Map<string, Tensor>(states);
        feeds.set('zeros', { type, dims: [unrolledSteps, batch, 1], data: new Float64Array(unrolledSteps * batch) });
        for (const { name, tokens, size } of model.sources) {
          const data = gather(size, ({ source, from }, _, p, into, at) => into.set(source.get(name)![from + p]!, at));
          const dims = tokens ? [unrolledSteps, batch] : [unrolledSteps, batch, size];
          feeds.set(`source ${name}`, { type: tokens ? DataType.INT64 : type, dims, data });
        }
        for (const lower of model.below) {
          const width = widths[lower]!;
          const values = hidden[lower]!;
          const data = gather(width, (_, w, p, into, at) => {
            const offset = (w * steps + p) * width;
            into.set(values.subarray(offset, offset + width), at);
          });
          feeds.set(`layer ${lower}`, { type, dims: [unrolledSteps, batch, width], data });
        }
        const outputs = await model.session.run(feeds);
        const { data } = outputs.get('hidden')!;
        for (let s = 0; s < unrolledSteps; s++) {
          windows.forEach((window, w) => {
            if (first + s >= window.to - window.from) return;
            const from = (s * batch + w) * n;
            hidden[index]!.set(data.subarray(from, from + n), (w * steps + position(window, s)) * widths[index]! + d * n);
          });
        }
        for (const state of states) state[1] = outputs.get(`${state[0]} last`)!;
      }
    }
  }
  return { steps, hidden };
}
