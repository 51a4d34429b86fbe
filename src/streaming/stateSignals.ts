import { Constants } from '../checkpoint/onnx/constants.js';
import { dependents } from '../checkpoint/onnx/graphs.js';
import { nodeLabel } from '../checkpoint/onnx/model.js';
import { Shapes } from '../checkpoint/onnx/shapes.js';
import { SignalReader } from '../checkpoint/onnx/signals.js';
import { isFloat } from '../checkpoint/onnx/tensor.js';
import { walkSignal, type Signal, type SourceSignal } from '../network/signal.js';
import type { StreamingModel } from './streamingModel.js';

/** The state map s′, y = F(s, x) as signals: sources are the frames, layer i is the state i, whatever computes it. */
export interface StateSignals {
  /** In the order of the model's states. */
  readonly next: readonly Signal[];
  /** The float outputs; null where the state cannot be followed to one of them. */
  readonly outputs: readonly Signal[] | null;
}

/** @returns the operator, in words, in which the state cannot be followed any further, where the next state depends on it */
export function stateSignals({ model, states, frames, outputs }: StreamingModel): StateSignals | string {
  const { graph } = model;
  const constants = new Constants(graph, new Map());
  const shapes = new Shapes(graph, constants);
  const inputs = new Set([...frames, ...states].map((port) => ('input' in port ? port.input : port.name)));
  const layerOf = (name: string) => {
    const index = states.findIndex((s) => s.input === name);
    return index < 0 ? null : index;
  };
  const reader = new SignalReader(constants, shapes, inputs, new Set(), layerOf);
  const stateful = dependents(
    graph.node,
    states.map((s) => s.input),
  );
  const whole = new Set(frames.filter((f) => !isFloat(f.type)).map((f) => f.name));
  /** A source that no range is stated for, or that hides a dependence on the state. */
  const isUnknown = (s: Signal) =>
    s.kind === 'source' && (stateful.has(s.name) || whole.has(s.name) || (s.operator !== null && s.range === null && !s.within));
  const read = (name: string): Signal | string => {
    const signal = reader.signal(name);
    let blocked: string | null = signal ? null : name;
    if (signal) walkSignal(signal, (s) => (blocked ??= isUnknown(s) ? (s as SourceSignal).name : null));
    if (blocked === null) return signal!;
    const node = constants.producer(blocked);
    return node ? `${node.opType} (node ${nodeLabel(node)})` : `the input ${blocked}`;
  };
  const next = states.map((s) => read(s.output));
  const problem = next.find((s) => typeof s === 'string');
  if (problem !== undefined) return problem;
  const results = outputs.filter((o) => isFloat(o.type)).map((o) => read(o.name));
  return {
    next: next as Signal[],
    outputs: results.some((s) => typeof s === 'string') ? null : (results as Signal[]),
  };
}
