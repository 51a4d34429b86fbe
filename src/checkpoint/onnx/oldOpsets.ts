import { isStandard } from './model.js';
import { words } from './operators.js';
import type { GraphProto, ModelProto } from './onnx_pb.js';

/** The oldest operator set that ONNX Runtime runs. */
const oldestRunnable = 7;

/** Operators that mean in operator set 7 what they meant in every older one, apart from attributes that were only hints. */
const unchanged = words(
  'Concat Constant Gather GRU Identity LSTM MatMul Relu RNN Sigmoid Slice Softmax Split Squeeze Tanh',
  'Transpose Unsqueeze',
);
const hints = new Set(['consumed_inputs', 'output_sequence']);

/**
 * Declares an old model to be of operator set 7 where that changes nothing about it, so that ONNX Runtime can run it and
 * what is made of it. A model with other operators stays as it is.
 */
export function raiseOldOpset(model: ModelProto & { graph: GraphProto }): void {
  const entry = model.opsetImport.find((o) => o.domain === '' || o.domain === 'ai.onnx');
  if (!entry || entry.version >= oldestRunnable) return;
  if (!model.graph.node.every((node) => isStandard(node) && unchanged.has(node.opType))) return;
  entry.version = BigInt(oldestRunnable);
  for (const node of model.graph.node) node.attribute = node.attribute.filter((a) => !hints.has(a.name));
}
