import { BadInputError } from '../../errors.js';
import { dependents } from './graphs.js';
import { nodeLabel } from './model.js';
import { carriedFrom, type Carried } from './movement.js';
import type { GraphProto, ValueInfoProto } from './onnx_pb.js';
import { declaredDims, declaredType, freeInputs } from './settings.js';
import { DataType } from './tensor.js';

/**
 * Which inputs of a streaming model are states that the caller feeds back from an output of the call before. Shape, type
 * and dependence say what is possible; how the input is carried to the output, and the names, say what is meant.
 */
export interface StatePair {
  readonly input: string;
  readonly output: string;
  readonly kind: StateKind;
  /** What it is the state of, in words: recurrent nodes by name, or nothing. */
  readonly of: readonly string[];
}

/**
 *   hidden, cell   h or c of recurrent nodes
 *   packed         h and c in one tensor
 *   cache          past values beside new ones, as before a convolution
 *   mixed          a cache and states of recurrent nodes in one tensor
 *   general        a state of no known form
 */
export type StateKind = 'hidden' | 'cell' | 'packed' | 'cache' | 'mixed' | 'general';

/** Pairs that the user states, output by input. */
export type StateSettings = Readonly<Record<string, string>>;

interface Candidate {
  readonly input: string;
  readonly output: string;
  /** 0: only possible; higher: more evidence. */
  readonly score: number;
}

function fits(input: ValueInfoProto, output: ValueInfoProto): boolean {
  const [a, b] = [declaredDims(input), declaredDims(output)];
  const sameShape = a.length === b.length && a.every((d, i) => d === null || b[i] === null || d === b[i]);
  const type = declaredType(input);
  const otherType = declaredType(output);
  return sameShape && type !== DataType.BOOL && (type === otherType || otherType === DataType.UNDEFINED);
}

const stateWords =
  /state|hidden|cell|cache|memory|carry|context|buffer|history|^(h|c|s|hx|cx)$|(^|_)(h|c|hx|cx|h0|c0|hn|cn)(_|$)|lstm|gru|rnn/i;

/** A state's name without what tells its two ends apart: `h0` and `hn`, `cache` and `cache_out`, `state` and `stateN`. */
function nameStem(name: string): string {
  const tokens = name
    .replace(/N$/, '')
    .replace(/([a-z])([A-Z])/g, '$1_$2')
    .toLowerCase()
    .split(/[^a-z0-9]+/);
  const ends = /^(in|out|input|output|prev|previous|next|new|old|n|0|init|initial|final|last|t|tm1|t1|ret|present|past)$/;
  const stems = tokens
    .map((token) => token.replace(/^([a-z]+?)(0|n|in|out|next|prev|new|old)$/, '$1'))
    .filter((t) => t !== '' && !ends.test(t));
  return stems.join('_');
}

function evidence(carried: Carried, input: string, output: string): number {
  const structural = carried.tensors.has(output) ? 4 : 0;
  const named = nameStem(input) !== '' && nameStem(input) === nameStem(output) ? 2 : 0;
  return structural + (named > 0 ? named + (stateWords.test(input) ? 1 : 0) : 0);
}

/** Every pair that shape, type and data flow allow, with the evidence for it. */
function candidatesOf(graph: GraphProto): Candidate[] {
  return freeInputs(graph).flatMap((input) => {
    const possible = graph.output.filter((output) => fits(input, output));
    if (possible.length === 0) return [];
    const from = dependents(graph.node, [input.name]);
    const carried = carriedFrom(graph, input.name);
    return possible
      .filter((output) => from.has(output.name))
      .map((output) => ({ input: input.name, output: output.name, score: evidence(carried, input.name, output.name) }));
  });
}

/** Pairs that shape, type and dependence allow, as `in=out`; nothing says that they are meant. */
export function possiblePairs(graph: GraphProto): string[] {
  return candidatesOf(graph).map((c) => `${c.input}=${c.output}`);
}

/** Inputs that may be states: those with evidence, else all that could be. For recognising cells before pairs are known. */
export function possibleStateInputs(graph: GraphProto, settings: StateSettings): Set<string> {
  const candidates = candidatesOf(graph);
  const stated = Object.keys(settings);
  if (stated.length > 0) return new Set(stated);
  const likely = candidates.filter((c) => c.score >= 3);
  return new Set((likely.length > 0 ? likely : candidates).map((c) => c.input));
}

/** @throws BadInputError where a stated pair cannot be one */
function statedPairs(graph: GraphProto, settings: StateSettings): Candidate[] {
  return Object.entries(settings).map(([input, output]) => {
    const from = freeInputs(graph).find((i) => i.name === input);
    const to = graph.output.find((o) => o.name === output);
    const list = (infos: readonly ValueInfoProto[]) => infos.map((i) => i.name).join(', ');
    if (!from || !to) {
      const missing = from
        ? `output "${output}"; the outputs are ${list(graph.output)}`
        : `input "${input}"; the inputs are ${list(freeInputs(graph))}`;
      throw new BadInputError('bad-state-pair', `the state ${input}=${output} cannot be: there is no ${missing}`);
    }
    if (!fits(from, to)) {
      const shape = (i: ValueInfoProto) =>
        `[${declaredDims(i)
          .map((d) => d ?? '?')
          .join(', ')}]`;
      throw new BadInputError(
        'bad-state-pair',
        `the state ${input}=${output} cannot be: the input has shape ${shape(from)}, the output ${shape(to)}`,
      );
    }
    return { input, output, score: Infinity };
  });
}

/**
 * The state pairs; empty where the model carries no state.
 * @throws BadInputError where several readings are equally good
 */
export function statePairs(graph: GraphProto, settings: StateSettings): StatePair[] {
  const stated = statedPairs(graph, settings);
  const chosen: Candidate[] = [...stated];
  let open = candidatesOf(graph).filter((c) => !stated.some((s) => s.input === c.input || s.output === c.output));
  const all = open;
  open = open.filter((c) => c.score >= 3);
  while (open.length > 0) {
    const best = (of: (c: Candidate) => string, key: string) => {
      const own = open.filter((c) => of(c) === key);
      const top = Math.max(...own.map((c) => c.score));
      return own.filter((c) => c.score === top);
    };
    const settled = open.find((c) => {
      const byInput = best((o) => o.input, c.input);
      const byOutput = best((o) => o.output, c.output);
      return byInput.length === 1 && byOutput.length === 1 && byInput[0] === c && byOutput[0] === c;
    });
    if (!settled) throw ambiguous(open);
    chosen.push(settled);
    open = open.filter((c) => c.input !== settled.input && c.output !== settled.output);
  }
  if (chosen.length === 0) {
    // Shape and dependence alone prove nothing: feed-forward models have outputs shaped like their inputs too.
    const named = all.filter((c) => stateWords.test(c.input) || stateWords.test(c.output));
    if (named.length === 1) chosen.push(named[0]!);
    else if (named.length > 1) throw ambiguous(named);
  }
  const order = graph.input.map((i) => i.name);
  return chosen
    .sort((a, b) => order.indexOf(a.input) - order.indexOf(b.input))
    .map(({ input, output }) => described(graph, input, output));
}

function described(graph: GraphProto, input: string, output: string): StatePair {
  const { hidden, cell, joined, tensors } = carriedFrom(graph, input);
  const recurrent = [...new Set([...hidden, ...cell])];
  const kind: StateKind =
    recurrent.length > 0 && joined && !allFrom(graph, output, tensors)
      ? 'mixed'
      : hidden.length > 0
        ? cell.length > 0
          ? 'packed'
          : 'hidden'
        : cell.length > 0
          ? 'cell'
          : joined && tensors.has(output)
            ? 'cache'
            : 'general';
  return { input, output, kind, of: recurrent.map(nodeLabel) };
}

/** True when an output holds nothing but states: what was joined are the parts of a packed tensor. */
function allFrom(graph: GraphProto, output: string, tensors: ReadonlySet<string>): boolean {
  const made = new Map(graph.node.flatMap((n) => n.output.map((o) => [o, n] as const)));
  const visit = (name: string): boolean => {
    const node = made.get(name);
    if (!tensors.has(name)) return false;
    if (!node || !/^(Concat|ScatterND|ScatterElements)$/.test(node.opType)) return true;
    const parts = node.opType === 'Concat' ? node.input : [node.input[0]!, node.input[2]!];
    return parts.every(visit);
  };
  return visit(output);
}

function ambiguous(candidates: readonly Candidate[]): BadInputError {
  const possible = candidates.map((c) => `${c.input}=${c.output}`).slice(0, 12);
  return new BadInputError(
    'state-pairs-ambiguous',
    `which outputs are fed back to which inputs is not clear: it could be ${possible.join(', ')}; ` +
      `say it with --state ${possible[0]} (one --state for each), or in the setting rnnStability.states`,
    undefined,
    { about: 'states', answers: possible },
  );
}
