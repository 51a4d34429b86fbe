import { create } from '@bufbuild/protobuf';
import { NodeProtoSchema, type AttributeProto } from '../../onnx/onnx_pb.js';
import { takesAlpha, takesBeta } from '../../../network/activation.js';
import { isCell, readCell, type OnnxCell } from '../cells.js';
import {
  asFloat,
  expectRank,
  floatsAttribute,
  intAttribute,
  knownSize,
  reversed,
  shaped,
  stringAttribute,
  stringsAttribute,
  type LayerContext,
  type LayerConverter,
  type Value,
} from '../layer.js';
import type { LayerConfig } from '../layerConfig.js';
import { compacted, compaction, finalState, spread, zeroState, type Compaction } from '../masks.js';

/** SimpleRNN, LSTM, GRU, RNN around cells, and Bidirectional, as ONNX nodes that carry the layers' names. */

/** Which way a direction reads, and the states [batch, units] that it starts from; null: zeros. */
export interface Run {
  readonly reverse: boolean;
  /** h, and c for an LSTM. */
  readonly initial: readonly string[] | null;
}

export interface RunOutputs {
  /** [batch, time, units] in the order of time. */
  readonly sequence: string;
  /** [batch, units]: h, and c for an LSTM. */
  readonly states: readonly string[];
}

interface Wanted {
  readonly sequence: boolean;
  readonly states: boolean;
}

function cellAttributes(cells: readonly OnnxCell[], direction: string): AttributeProto[] {
  const functions = cells.flatMap((cell) => cell.activations);
  const alphas = functions.filter((f) => takesAlpha(f.name)).map((f) => f.alpha);
  const betas = functions.filter((f) => takesBeta(f.name)).map((f) => f.beta);
  return [
    intAttribute('hidden_size', cells[0]!.units),
    stringAttribute('direction', direction),
    stringsAttribute(
      'activations',
      functions.map((f) => f.name),
    ),
    ...(alphas.length > 0 ? [floatsAttribute('activation_alpha', alphas)] : []),
    ...(betas.length > 0 ? [floatsAttribute('activation_beta', betas)] : []),
    ...(cells[0]!.operator === 'GRU' ? [intAttribute('linear_before_reset', cells[0]!.linearBeforeReset ? 1 : 0)] : []),
  ];
}

function joined(parts: readonly Float64Array[]): Float64Array {
  const data = new Float64Array(parts.reduce((n, p) => n + p.length, 0));
  let offset = 0;
  for (const part of parts) {
    data.set(part, offset);
    offset += part.length;
  }
  return data;
}

/** A recurrent node of one direction, or of forward and reverse. */
class RecurrentNode {
  private readonly plan: Compaction | null;
  /** [time, directions, batch, units] */
  private readonly y: string;
  private readonly yH: string;
  private readonly yC: string;

  constructor(
    private readonly c: LayerContext,
    node: string,
    private readonly cells: readonly OnnxCell[],
    private readonly runs: readonly Run[],
    x: Value,
    plan: Compaction | null,
    wanted: Wanted,
  ) {
    const { g } = c;
    const [cell] = cells as [OnnxCell];
    const { operator, units, inputSize } = cell;
    const count = cells.length;
    const gates = cell.b.length / 2;
    this.plan = plan;
    const { place } = count === 2 ? c.config : cell.config;
    c.origin(node, { place: place ?? c.config.place, cells: cells.map((p) => p.original) });
    const name = (what: string) => `${node}/${what}`;
    const weight = (what: string, dims: readonly number[], part: (cell: OnnxCell) => Float64Array) =>
      g.constant(`${node.slice(c.name.length + 1)}${what}`, [count, ...dims], joined(cells.map(part)));
    const input = asFloat(g, x);
    const time = g.transpose(plan ? compacted(g, input, plan, x.bounds) : input, [1, 0, 2]);
    this.y = wanted.sequence ? name('Y') : '';
    this.yH = wanted.states ? name('Y_h') : '';
    this.yC = wanted.states && operator === 'LSTM' ? name('Y_c') : '';
    const inputs = [
      time,
      weight('W', [gates, inputSize], (p) => p.w),
      weight('R', [gates, units], (p) => p.r),
      weight('B', [2 * gates], (p) => p.b),
      plan?.lengths ?? '',
      this.initial(0),
      ...(operator === 'LSTM' ? [this.initial(1)] : []),
    ];
    while (inputs.at(-1) === '') inputs.pop();
    const outputs = [this.y, this.yH, this.yC];
    while (outputs.at(-1) === '') outputs.pop();
    const direction = count === 2 ? 'bidirectional' : runs[0]!.reverse ? 'reverse' : 'forward';
    g.nodes.push(
      create(NodeProtoSchema, {
        opType: operator,
        name: node,
        input: inputs,
        output: outputs,
        attribute: cellAttributes(cells, direction),
      }),
    );
  }

  /** [directions, batch, units] */
  private initial(part: number): string {
    if (this.runs.every((run) => run.initial === null)) return '';
    const { g } = this.c;
    const states = this.runs.map((run) => g.unsqueeze(run.initial![part]!, 0));
    return states.length === 1 ? states[0]! : g.concat(states, 0);
  }

  private initialOr(direction: number, part: number): string {
    return this.runs[direction]!.initial?.[part] ?? zeroState(this.c.g, this.cells[0]!.units);
  }

  sequence(direction: number): string {
    const { g } = this.c;
    const one = this.cells.length === 1 ? this.y : this.part(this.y, 1)[direction]!;
    const y = g.transpose(g.squeeze(one, 1), [1, 0, 2]);
    return this.plan ? spread(g, y, this.plan, this.runs[direction]!.reverse, this.initialOr(direction, 0)) : y;
  }

  /** [batch, time, 2 · units]; null where a mask lets the directions end apart. */
  bothSequences(): string | null {
    if (this.plan || this.cells.length !== 2) return null;
    const { g } = this.c;
    return g.reshape(g.transpose(this.y, [2, 0, 1, 3]), [0, 0, 2 * this.cells[0]!.units]);
  }

  states(direction: number): string[] {
    return [this.yH, this.yC].flatMap((name, part) => (name === '' ? [] : [this.state(name, direction, part)]));
  }

  private state(name: string, direction: number, part: number): string {
    const { g } = this.c;
    const state = g.squeeze(this.cells.length === 1 ? name : this.part(name, 0)[direction]!, 0);
    return this.plan ? finalState(g, state, this.plan, this.initialOr(direction, part)) : state;
  }

  private readonly parts = new Map<string, string[]>();

  private part(name: string, axis: number): string[] {
    const parts = this.parts.get(name) ?? this.c.g.split(name, axis, [1, 1]);
    this.parts.set(name, parts);
    return parts;
  }
}

/** The cells of a recurrent layer, the lowest first. */
function cellConfigs(c: LayerContext, config: LayerConfig): LayerConfig[] {
  if (isCell(config)) return [config];
  if (config.className !== 'RNN') return config.fail('unknown-layer', 'it is no recurrent layer that is understood');
  const describe = (value: unknown) => c.describe(value, `a cell of ${config.name}`);
  const given = config.values['cell'];
  const list = Array.isArray(given) ? (given as unknown[]) : [given];
  const stacked = list.flatMap((value): unknown[] => {
    const cell = describe(value);
    const inner = cell.values['cells'];
    return cell.className === 'StackedRNNCells' && Array.isArray(inner) ? (inner as unknown[]) : [value];
  });
  return stacked.map(describe);
}

/** The cells one above the other: all of them read the sequence in the same direction. */
interface CellStack {
  readonly cells: readonly OnnxCell[];
  readonly part: string;
}

function readStack(c: LayerContext, config: LayerConfig, inputSize: number, part: string): CellStack {
  let size = inputSize;
  const cells = cellConfigs(c, config).map((cell, i) => {
    const read = readCell(cell, c.weights, size, part, i);
    size = read.units;
    return read;
  });
  return { cells, part };
}

const statesOf = (cell: OnnxCell) => (cell.operator === 'LSTM' ? 2 : 1);

function nodeName(base: string, { part, cells }: CellStack, index: number): string {
  return [base, ...(part === '' ? [] : [part]), ...(cells.length === 1 ? [] : [`cell_${index}`])].join('/');
}

/**
 * States lie in TF.js' order, the highest cell first.
 * @param initial null: all zero
 */
function runStack(c: LayerContext, stack: CellStack, x: Value, plan: Compaction | null, run: Run, wanted: Wanted): RunOutputs {
  let value = x;
  let sequence = '';
  const left = run.initial && [...run.initial];
  const states: string[][] = [];
  stack.cells.forEach((cell, i) => {
    const top = i === stack.cells.length - 1;
    const own = left && left.splice(left.length - statesOf(cell));
    const node = new RecurrentNode(c, nodeName(c.name, stack, i), [cell], [{ ...run, initial: own }], value, plan, {
      sequence: !top || wanted.sequence,
      states: wanted.states,
    });
    states.unshift(wanted.states ? node.states(0) : []);
    if (top && !wanted.sequence) return;
    sequence = node.sequence(0);
    value = shaped(sequence, [x.shape[0]!, x.shape[1]!, cell.units]);
  });
  return { sequence, states: states.flat() };
}

interface Options {
  readonly returnSequences: boolean;
  readonly returnState: boolean;
  readonly goBackwards: boolean;
  readonly stateful: boolean;
}

function optionsOf(config: LayerConfig): Options {
  if (config.boolean('time_major', false)) config.fail('unknown-layer', 'time_major is not understood');
  return {
    returnSequences: config.boolean('return_sequences', false),
    returnState: config.boolean('return_state', false),
    goBackwards: config.boolean('go_backwards', false),
    stateful: config.boolean('stateful', false),
  };
}

/** The sequence that a layer reads, and the states that the model passes to it. */
function readInputs(c: LayerContext, inputs: readonly Value[]): { x: Value; states: readonly Value[] } {
  const [x, ...rest] = inputs;
  if (!x) return c.config.fail('bad-topology', 'it has no input');
  expectRank(c, x, 3);
  return { x, states: [...rest, ...c.initialState] };
}

/**
 * The states that the layer starts from: given by the model, carried by the caller of a stateful layer, or null for zeros.
 * @param sizes units of every state
 */
function startStates(
  c: LayerContext,
  x: Value,
  given: readonly Value[],
  sizes: readonly number[],
  stateful: boolean,
): string[] | null {
  if (given.length > 0) {
    if (given.length !== sizes.length) {
      return c.config.fail('bad-topology', `it is given ${given.length} initial states where it has ${sizes.length}`);
    }
    return given.map((state) => asFloat(c.g, state));
  }
  if (!stateful) return null;
  return sizes.map((units, i) => c.stateInput(`${c.name}/state_${i}`, [x.shape[0]!, units]));
}

function carryStates(c: LayerContext, x: Value, states: readonly string[], sizes: readonly number[]): void {
  states.forEach((state, i) => c.stateOutput(`${c.name}/state_${i}_next`, state, [x.shape[0]!, sizes[i]!]));
}

function stateSizes(stack: CellStack): number[] {
  return stack.cells.toReversed().flatMap((cell) => Array.from({ length: statesOf(cell) }, () => cell.units));
}

const recurrent: LayerConverter = (c, inputs) => {
  const { x, states } = readInputs(c, inputs);
  const options = optionsOf(c.config);
  const stack = readStack(c, c.config, knownSize(c, x, 2), '');
  const sizes = stateSizes(stack);
  const initial = startStates(c, x, states, sizes, options.stateful);
  const plan = x.mask === null ? null : compaction(c.g, x.mask);
  const carried = options.stateful && states.length === 0;
  const wanted = { sequence: options.returnSequences, states: options.returnState || carried || !options.returnSequences };
  const run = runStack(c, stack, x, plan, { reverse: options.goBackwards, initial }, wanted);
  if (carried) carryStates(c, x, run.states, sizes);
  const [batch, time] = x.shape;
  const units = sizes[0]!;
  const output: Value = options.returnSequences
    ? {
        // Keras leaves the outputs of a backward layer in the order in which they were computed.
        ...shaped(options.goBackwards ? reversed(c.g, run.sequence, 1) : run.sequence, [batch!, time!, units]),
        mask: x.mask,
      }
    : shaped(run.states[0]!, [batch!, units]);
  return [output, ...(options.returnState ? run.states.map((s, i) => shaped(s, [batch!, sizes[i]!])) : [])];
};

const mergeModes = new Set(['concat', 'sum', 'ave', 'mul', 'null']);

const bidirectional: LayerConverter = (c, inputs) => {
  const { x, states } = readInputs(c, inputs);
  const layer = c.inner('layer');
  const options = optionsOf(layer);
  const backward = c.config.has('backward_layer') ? c.inner('backward_layer') : layer;
  const mode = c.config.values['merge_mode'] === null ? 'null' : c.config.text('merge_mode', 'concat');
  if (!mergeModes.has(mode)) c.config.fail('bad-layer', `its merge_mode is "${mode}"`);
  const size = knownSize(c, x, 2);
  // "forward" is what Keras calls the layer as given, even where that one goes backwards.
  const stacks = [readStack(c, layer, size, 'forward'), readStack(c, backward, size, 'backward')] as const;
  const sizes = stacks.map(stateSizes) as [number[], number[]];
  const all = sizes.flat();
  const initial = startStates(c, x, states, all, options.stateful);
  const split = initial && ([initial.slice(0, sizes[0].length), initial.slice(sizes[0].length)] as const);
  const plan = x.mask === null ? null : compaction(c.g, x.mask);
  const carried = options.stateful && states.length === 0;
  const wanted = { sequence: options.returnSequences, states: options.returnState || carried || !options.returnSequences };
  const runs = stacks.map((_, i): Run => ({ reverse: options.goBackwards !== (i === 1), initial: split?.[i] ?? null }));
  const paired = asOneNode(stacks);
  let outputs: RunOutputs[];
  let both: string | null = null;
  if (paired) {
    // ONNX wants the forward direction first.
    const order = options.goBackwards ? [1, 0] : [0, 1];
    const node = new RecurrentNode(
      c,
      c.name,
      order.map((i) => paired[i]!),
      order.map((i) => runs[i]!),
      x,
      plan,
      wanted,
    );
    if (wanted.sequence && mode === 'concat' && !options.goBackwards) both = node.bothSequences();
    outputs = order.map((_, i) => ({
      sequence: wanted.sequence && both === null ? node.sequence(order.indexOf(i)) : '',
      states: wanted.states ? node.states(order.indexOf(i)) : [],
    }));
  } else {
    outputs = stacks.map((stack, i) => runStack(c, stack, x, plan, runs[i]!, wanted));
  }
  const ends = outputs.flatMap((o) => o.states);
  if (carried) carryStates(c, x, ends, all);

  const [batch, time] = x.shape;
  const shapeOf = (units: number) => (options.returnSequences ? [batch!, time!, units] : [batch!, units]);
  const part = (i: number): Value => {
    const { sequence, states: last } = outputs[i]!;
    // Each in the order of its own layer; Keras turns the second around once more.
    const name = !options.returnSequences ? last[0]! : options.goBackwards ? reversed(c.g, sequence, 1) : sequence;
    return { ...shaped(name, shapeOf(sizes[i]![0]!)), mask: options.returnSequences ? x.mask : null };
  };
  const merged = mergedOutputs(c, mode, both === null ? [part(0), part(1)] : both, shapeOf, sizes);
  return [...merged, ...(options.returnState ? ends.map((s, i) => shaped(s, [batch!, all[i]!])) : [])];
};

/** The two cells where one node of both directions can hold them. */
function asOneNode([a, b]: readonly [CellStack, CellStack]): OnnxCell[] | null {
  const [first, second] = [a.cells[0]!, b.cells[0]!];
  const alike =
    a.cells.length === 1 &&
    b.cells.length === 1 &&
    first.operator === second.operator &&
    first.units === second.units &&
    first.linearBeforeReset === second.linearBeforeReset;
  return alike ? [first, second] : null;
}

function mergedOutputs(
  c: LayerContext,
  mode: string,
  parts: readonly [Value, Value] | string,
  shapeOf: (units: number) => (number | null)[],
  sizes: readonly [number[], number[]],
): Value[] {
  const [u, v] = [sizes[0][0]!, sizes[1][0]!];
  if (typeof parts === 'string') return [shaped(parts, shapeOf(u + v))];
  const [a, b] = parts;
  if (mode === 'null') return [a, b];
  if (mode === 'concat') return [{ ...shaped(c.g.concat([a.name, b.name], a.shape.length - 1), shapeOf(u + v)), mask: a.mask }];
  if (u !== v) c.config.fail('bad-topology', `its directions of ${u} and ${v} units cannot be merged by ${mode}`);
  const combined = c.g.binary(mode === 'mul' ? 'Mul' : 'Add', a.name, b.name);
  return [{ ...a, name: mode === 'ave' ? c.g.binary('Mul', combined, c.g.scalar(0.5)) : combined }];
}

export const recurrentLayers: Readonly<Record<string, LayerConverter>> = {
  SimpleRNN: recurrent,
  LSTM: recurrent,
  GRU: recurrent,
  RNN: recurrent,
  Bidirectional: bidirectional,
};
