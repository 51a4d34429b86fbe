import { walkSignal, type Signal } from '../../network/signal.js';
import { nodeLabel } from './model.js';
import { sequenceAtoms, timeAndBatch, type OnnxCheckpoint } from './reader.js';
import { SignalReader } from './signals.js';
import { isFloat, type DataType } from './tensor.js';

/** An output of the model that depends on a recurrent layer, as a signal over the layers' outputs at the position it speaks of. */
export interface OutputSignal {
  readonly name: string;
  readonly signal: Signal;
  /** The operator through which the layers' outputs cannot be followed; null where all of the way is understood. */
  readonly blockedBy: string | null;
}

/** The model's float outputs that depend on a recurrent layer. Integer outputs (a class, a token) have no error of their own. */
export function outputSignals(checkpoint: OnnxCheckpoint): OutputSignal[] {
  const { model, constants, shapes, nodes } = checkpoint;
  const initialized = new Set(model.graph.initializer.map((t) => t.name));
  const inputs = new Set(model.graph.input.map((i) => i.name).filter((name) => !initialized.has(name)));
  const atoms = sequenceAtoms(checkpoint);
  const outside = new Set([...atoms.time, ...atoms.batch]);
  const layerOf = (name: string) => {
    const index = nodes.findIndex((n) => n.y === name || (n.yH === name && n.directions.length === 1));
    return index >= 0 && timeAndBatch(nodes[index]!, shapes) ? index : null;
  };
  const reader = new SignalReader(constants, shapes, inputs, outside, layerOf, true);
  return model.graph.output.flatMap((info): OutputSignal[] => {
    const type = info.type?.value;
    if (type?.case !== 'tensorType' || !isFloat(type.value.elemType as DataType)) return [];
    const signal = reader.signal(info.name);
    if (!signal) {
      const node = constants.producer(info.name);
      return [{ name: info.name, signal: nothing, blockedBy: node ? `${node.opType} (node ${nodeLabel(node)})` : 'its shape' }];
    }
    let recurrent = false;
    let blockedBy: string | null = null;
    walkSignal(signal, (s) => {
      if (s.kind === 'layer') recurrent = true;
      if (s.kind !== 'source' || !s.recurrent) return;
      recurrent = true;
      blockedBy ??= s.operator ? `${s.operator.type} (node ${s.operator.node})` : s.name;
    });
    return recurrent ? [{ name: info.name, signal, blockedBy }] : [];
  });
}

const nothing: Signal = { kind: 'constant', size: 0, value: new Float64Array() };
