import { BadInputError, type Question } from '../errors.js';
import { inlineDecidedBranches } from '../checkpoint/onnx/branches.js';
import { Constants } from '../checkpoint/onnx/constants.js';
import { dimSize } from '../checkpoint/onnx/dims.js';
import { opsetOf, type ModelProtoWithGraph } from '../checkpoint/onnx/model.js';
import { plain } from '../checkpoint/onnx/exposed.js';
import { stepLoop, type SteppedLoop } from '../checkpoint/onnx/loopSteps.js';
import { replaceLoops } from '../checkpoint/onnx/loops.js';
import { isRecurrent } from '../checkpoint/onnx/recurrent.js';
import {
  applySettings,
  decidingInputs,
  declaredDims,
  declaredType,
  freeInputs,
  isShapeSetting,
  settingValue,
  type InputSettings,
} from '../checkpoint/onnx/settings.js';
import { Shapes } from '../checkpoint/onnx/shapes.js';
import {
  possiblePairs,
  possibleStateInputs,
  statePairs,
  type StatePair,
  type StateSettings,
} from '../checkpoint/onnx/statePairs.js';
import { withGraph, withStaticShapes } from '../checkpoint/onnx/staticShapes.js';
import type { DataType, ExternalData } from '../checkpoint/onnx/tensor.js';
import { replaceUnrolledCells } from '../checkpoint/onnx/unrolledCells.js';
import type { InferenceRuntime } from '../runtime/inference.js';
import { differenceFromLoop } from './loopEquivalence.js';

/** An input or output of one call, with its sizes fixed. */
export interface Port {
  readonly name: string;
  readonly type: DataType;
  readonly dims: readonly number[];
  /** Axis of one step along which more steps follow; absent: frames need an axis of their own. */
  readonly timeAxis?: number;
}

export interface StreamState extends StatePair {
  readonly type: DataType;
  readonly dims: readonly number[];
  /** Where it starts; null: from zero. */
  readonly initial: Float64Array | null;
}

/**
 * A model that computes one frame per call, s′, y = F(s, x), while the caller carries the state s. All sizes are fixed
 * and no If is left whose condition is known.
 */
export interface StreamingModel {
  readonly model: ModelProtoWithGraph;
  /** What changes from call to call. */
  readonly frames: readonly Port[];
  readonly states: readonly StreamState[];
  /** The results: outputs that are no states, or the states where there is nothing else. */
  readonly outputs: readonly Port[];
  /** The Loop or Scan of whose iterations it is one, in words; null where the caller carries the state. */
  readonly loop: string | null;
  /** What was taken for granted, for the user to object. */
  readonly assumptions: readonly Assumption[];
}

export interface Assumption {
  readonly code: 'input-value-assumed' | 'free-size-assumed';
  readonly message: string;
  readonly question: Question;
}

export interface StreamingSettings {
  readonly set: InputSettings;
  readonly states: StateSettings;
}

/**
 * The values of inputs that decide a branch: the user's, or the one that the graph itself asks about.
 * @throws BadInputError where several values are possible and none was set
 */
export function decided(model: ModelProtoWithGraph, set: InputSettings): { settings: InputSettings; assumptions: Assumption[] } {
  const settings: Record<string, string> = { ...set };
  const assumptions: Assumption[] = [];
  for (const { name, node, values } of decidingInputs(model.graph)) {
    if (settings[name] !== undefined) continue;
    const choices = values.map((v) => `${name}=${v}`);
    if (values.length !== 1) {
      throw new BadInputError(
        'input-not-set',
        `the input ${name} decides which branch of ${node} runs; set it with --set ${choices[0] ?? `${name}=VALUE`}` +
          `${choices.length > 1 ? ` (the graph asks about ${values.join(', ')})` : ''}, or in the setting rnnStability.set`,
        undefined,
        { about: 'set', answers: choices.length > 0 ? choices : [`${name}=`] },
      );
    }
    settings[name] = String(values[0]);
    assumptions.push({
      code: 'input-value-assumed',
      message: `${choices[0]} was assumed, the value that the graph asks about: another value takes another branch, with other weights perhaps. Choose it with --set ${name}=VALUE or the setting rnnStability.set.`,
      question: { about: 'set', answers: choices },
    });
  }
  return { settings, assumptions };
}

/** Sizes tried for a free dimension that may not be 1, largest first. */
const sizes = Array.from({ length: 16 }, (_, i) => 2 ** (16 - i));

/**
 * Reads a model as a streaming model.
 * @param model with its data inside; not changed
 * @returns null when it is none: nothing is fed back, or it takes sequences of any length
 */
export async function readStreamingModel(
  model: ModelProtoWithGraph,
  { set, states }: StreamingSettings,
  external: ExternalData,
  runtime: InferenceRuntime,
  fromStart = true,
): Promise<StreamingModel | null> {
  const { settings, assumptions } = decided(model, set);
  // A value that is set for a state is what it starts from, and no constant.
  const likely = possibleStateInputs(model.graph, states);
  const initial = fromStart ? Object.entries(settings).filter(([name, text]) => likely.has(name) && !isShapeSetting(text)) : [];
  const started = new Map(initial);
  const prepared = withGraph(model, { initializer: [...model.graph.initializer] });
  const shapes = applySettings(
    prepared.graph,
    Object.fromEntries(Object.entries(settings).filter(([name]) => !started.has(name))),
  );
  inlineDecidedBranches(prepared.graph, (graph) => new Constants(graph, external));
  replaceLoops(prepared.graph, opsetOf(model), external);
  const stated = Object.keys(states).length > 0;
  const possible = possiblePairs(prepared.graph).length > 0;
  const stepped = stated ? null : stepLoop(prepared.graph, opsetOf(model), external);
  // Loops of a fixed length may stand inside one frame; else the sequence is what they run over.
  if (isStepped(stepped) && (stepped.length === null || !possible)) return readLoop(prepared, stepped, shapes, external, runtime);
  if (typeof stepped === 'string' && !possible && !prepared.graph.node.some(isRecurrent)) {
    throw new BadInputError(
      'recurrence-in-control-flow',
      `what recurs is written as control flow: ${stepped}; export the model with its recurrent layers as ONNX RNN, LSTM or GRU nodes`,
    );
  }
  if (!possible && !stated) return null;
  if (takesSequences(prepared, external)) return null;

  const fixed = await fixSizes(prepared, shapes, { set, states }, external, runtime);
  if (initial.some(([name]) => !fixed?.pairs.some((p) => p.input === name)))
    return readStreamingModel(model, { set, states }, external, runtime, false);
  return fixed && described(fixed, [...assumptions, ...fixed.assumptions], null, started);
}

function isStepped(stepped: SteppedLoop | string | null): stepped is SteppedLoop {
  return typeof stepped === 'object' && stepped !== null;
}

/**
 * A model whose recurrence is a Loop or Scan over the sequence, one iteration per frame.
 * @throws BadInputError where that is not what the model computes
 */
async function readLoop(
  model: ModelProtoWithGraph,
  stepped: SteppedLoop,
  shapes: ReadonlyMap<string, readonly number[]>,
  external: ExternalData,
  runtime: InferenceRuntime,
): Promise<StreamingModel | null> {
  const single = withGraph(model, { ...plain(stepped.graph) });
  const fixed = await fixSizes(single, shapes, { set: {}, states: stepped.states }, external, runtime);
  if (!fixed) return null;
  // The sizes that matter are the iteration's own; what else was open is a batch of one.
  const streaming = described(fixed, [], stepped);
  const difference = await differenceFromLoop(model, streaming, stepped.length, runtime);
  if (difference === null) return streaming;
  throw new BadInputError(
    'recurrence-in-control-flow',
    `run step by step, ${stepped.loop} gives another answer than over the whole sequence (${difference}); export the model with its recurrent layers as ONNX RNN, LSTM or GRU nodes`,
  );
}

/** @param started values that states start from, as they were set, by input */
function described(
  fixed: Fixed,
  assumptions: readonly Assumption[],
  stepped: SteppedLoop | null,
  started: ReadonlyMap<string, string> = new Map(),
): StreamingModel {
  const { graph } = fixed.model;
  const { pairs } = fixed;
  const inputs = freeInputs(graph);
  const port = (name: string): Port => {
    const info = [...inputs, ...graph.output].find((i) => i.name === name)!;
    const timeAxis = stepped?.timeAxes.get(name);
    const dims = declaredDims(info).map((d) => d ?? 0);
    return { name, type: declaredType(info), dims, ...(timeAxis === undefined ? {} : { timeAxis }) };
  };
  const startOf = (name: string): Float64Array | null => {
    const text = started.get(name);
    if (text === undefined) return stepped?.initial.get(name)?.data ?? null;
    return settingValue(
      inputs.find((i) => i.name === name)!,
      text,
    ).data;
  };
  const carried = new Set(pairs.map((p) => p.input));
  const returned = new Set(pairs.map((p) => p.output));
  const results = graph.output.filter((o) => !returned.has(o.name));
  return {
    model: fixed.model,
    frames: inputs.filter((i) => !carried.has(i.name)).map((i) => port(i.name)),
    states: pairs.map((p) => ({ ...p, ...port(p.input), initial: startOf(p.input) })),
    outputs: (results.length > 0 ? results : graph.output).map((o) => port(o.name)),
    loop: stepped?.loop ?? null,
    assumptions,
  };
}

/** True when a recurrent node runs along an axis of free length: then the sequence is in the graph, not in the calls. */
function takesSequences({ graph }: ModelProtoWithGraph, external: ExternalData): boolean {
  const shapes = new Shapes(graph, new Constants(graph, external));
  return graph.node.filter(isRecurrent).some((node) => {
    const x = shapes.shape(node.input[0] ?? '');
    const batchFirst = node.attribute.some((a) => a.name === 'layout' && a.i === 1n);
    return x?.length === 3 && dimSize(x[batchFirst ? 1 : 0]!) === null;
  });
}

interface Fixed {
  readonly model: ModelProtoWithGraph;
  readonly pairs: StatePair[];
  readonly assumptions: Assumption[];
}

async function fixSizes(
  model: ModelProtoWithGraph,
  given: ReadonlyMap<string, readonly number[]>,
  { states }: StreamingSettings,
  external: ExternalData,
  runtime: InferenceRuntime,
): Promise<Fixed | null> {
  const inputs = freeInputs(model.graph).map((info) => ({
    name: info.name,
    dims: declaredDims(info),
    set: given.get(info.name),
  }));
  const isFree = (d: number | null) => d === null;
  const open = inputs.filter((i) => !i.set && i.dims.some(isFree));
  const likelyStates = possibleStateInputs(model.graph, states);
  const frames = open.filter((i) => !likelyStates.has(i.name));
  const attempt = async (size: number): Promise<Fixed | null> => {
    const shapes = new Map(
      inputs.map(({ name, dims, set }) => {
        const last = frames.some((f) => f.name === name)
          ? dims.findLastIndex((d, axis) => d === null && (axis > 0 || dims.length === 1))
          : -1;
        return [name, set ?? dims.map((d, axis) => d ?? (axis === last ? size : 1))] as const;
      }),
    );
    const fixed = await withStaticShapes(model, shapes, runtime);
    const graph = replaceUnrolledCells(fixed.graph, opsetOf(model), states, external);
    const pairs = statePairs(graph, states);
    if (pairs.length === 0) return null;
    const free = frames.map((i) => `${i.name}=${shapes.get(i.name)!.join('x')}`).join(', ');
    return {
      model: withGraph(fixed, graph),
      pairs,
      assumptions:
        free === ''
          ? []
          : [
              {
                code: 'free-size-assumed',
                message: `The model leaves sizes open; ${free} was taken${size > 1 ? ', the largest power of two that it accepts' : ''}. Your callers may feed another size, with context from the call before perhaps. Set it with --set, such as --set ${free.split(', ')[0]}, or the setting rnnStability.set.`,
                question: { about: 'set', answers: free.split(', ') },
              },
            ],
    };
  };
  let failure: unknown;
  for (const size of frames.length > 0 ? [1, ...sizes] : [1]) {
    try {
      return await attempt(size);
    } catch (error) {
      if (error instanceof BadInputError) throw error;
      failure ??= error;
    }
  }
  // It may be no streaming model at all; whoever reads it next says what is wrong with it.
  if (Object.keys(states).length === 0 && given.size === 0) return null;
  const reason = (failure instanceof Error ? failure.message : String(failure)).split('\n')[0]!;
  throw new BadInputError('runtime-refused', `ONNX Runtime cannot run the model with these sizes: ${reason}`);
}
