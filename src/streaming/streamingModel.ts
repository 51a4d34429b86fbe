import { BadInputError, type Question } from '../errors.js';
import { inlineDecidedBranches } from '../checkpoint/onnx/branches.js';
import { Constants } from '../checkpoint/onnx/constants.js';
import { dimSize } from '../checkpoint/onnx/dims.js';
import { opsetOf, type ModelProtoWithGraph } from '../checkpoint/onnx/model.js';
import { replaceLoops } from '../checkpoint/onnx/loops.js';
import { isRecurrent } from '../checkpoint/onnx/recurrent.js';
import {
  applySettings,
  decidingInputs,
  declaredDims,
  declaredType,
  freeInputs,
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

/** An input or output of one call, with its sizes fixed. */
export interface Port {
  readonly name: string;
  readonly type: DataType;
  readonly dims: readonly number[];
}

export interface StreamState extends StatePair {
  readonly type: DataType;
  readonly dims: readonly number[];
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
): Promise<StreamingModel | null> {
  const { settings, assumptions } = decided(model, set);
  const prepared = withGraph(model, { initializer: [...model.graph.initializer] });
  const shapes = applySettings(prepared.graph, settings);
  inlineDecidedBranches(prepared.graph, (graph) => new Constants(graph, external));
  replaceLoops(prepared.graph, opsetOf(model), external);
  const stated = Object.keys(states).length > 0;
  if (possiblePairs(prepared.graph).length === 0 && !stated) return null;
  if (takesSequences(prepared, external)) return null;

  const fixed = await fixSizes(prepared, shapes, { set, states }, external, runtime);
  if (!fixed) return null;
  const { graph } = fixed.model;
  const { pairs } = fixed;
  const inputs = freeInputs(graph);
  const port = (name: string): Port => {
    const info = [...inputs, ...graph.output].find((i) => i.name === name)!;
    return { name, type: declaredType(info), dims: declaredDims(info).map((d) => d ?? 0) };
  };
  const carried = new Set(pairs.map((p) => p.input));
  const returned = new Set(pairs.map((p) => p.output));
  const results = graph.output.filter((o) => !returned.has(o.name));
  return {
    model: fixed.model,
    frames: inputs.filter((i) => !carried.has(i.name)).map((i) => port(i.name)),
    states: pairs.map((p) => ({ ...p, ...port(p.input), input: p.input })),
    outputs: (results.length > 0 ? results : graph.output).map((o) => port(o.name)),
    assumptions: [...assumptions, ...fixed.assumptions],
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
