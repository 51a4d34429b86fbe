import { BadInputError } from '../../errors.js';
import {
  activation,
  activationNames,
  takesAlpha,
  takesBeta,
  type Activation,
  type ActivationName,
} from '../../network/activation.js';
import type { Cell, Gate } from '../../network/cell.js';
import type { LayerDirection } from '../../network/network.js';
import { matrix, rowRange, type Matrix } from '../../network/matrix.js';
import { floatAttribute, floatsAttribute, intAttribute, stringAttribute, stringsAttribute } from './attributes.js';
import type { Constants } from './constants.js';
import { isStandard, nodeLabel } from './model.js';
import type { NodeProto } from './onnx_pb.js';
import type { DataType, Tensor } from './tensor.js';

/** An RNN, LSTM or GRU node with every attribute and input read. */
export interface RecurrentNode {
  readonly node: NodeProto;
  readonly kind: Cell['kind'];
  readonly inputSize: number;
  readonly hiddenSize: number;
  readonly directions: readonly LayerDirection[];
  /** 0: X is [time, batch, input]; 1: [batch, time, input]. */
  readonly layout: 0 | 1;
  /** Element type of the weights. */
  readonly type: DataType;
  /** Tensor names; empty where absent. */
  readonly x: string;
  readonly sequenceLens: string;
  readonly initialH: string;
  readonly initialC: string;
  readonly y: string;
  readonly yH: string;
  readonly yC: string;
}

export function isRecurrent(node: NodeProto): boolean {
  return isStandard(node) && (node.opType === 'RNN' || node.opType === 'LSTM' || node.opType === 'GRU');
}

const gateCount = { rnn: 1, gru: 3, lstm: 4 } as const;
const activationCount = { rnn: 1, gru: 2, lstm: 3 } as const;
const defaultActivations: Record<Cell['kind'], ActivationName[]> = {
  rnn: ['Tanh'],
  gru: ['Sigmoid', 'Tanh'],
  lstm: ['Sigmoid', 'Tanh', 'Tanh'],
};

/** Activations of all directions; alpha and beta are consumed in order by the activations that take them. */
function readActivations(node: NodeProto, kind: Cell['kind'], directions: number): Activation[] {
  const wanted = activationCount[kind] * directions;
  const given = stringsAttribute(node, 'activations') ?? [];
  if (given.length !== 0 && given.length !== wanted) {
    throw new BadInputError('bad-attribute', `node ${nodeLabel(node)}: ${given.length} activations where ${wanted} are needed`);
  }
  const names = given.length > 0 ? given : Array.from({ length: directions }, () => defaultActivations[kind]).flat();
  const alphas = [...(floatsAttribute(node, 'activation_alpha') ?? [])];
  const betas = [...(floatsAttribute(node, 'activation_beta') ?? [])];
  return names.map((written) => {
    const name = activationNames.find((known) => known.toLowerCase() === written.toLowerCase());
    if (!name) {
      throw new BadInputError(
        'unknown-activation',
        `node ${nodeLabel(node)}: activation ${written} is not one that ONNX allows here (${activationNames.join(', ')})`,
      );
    }
    const alpha = takesAlpha(name) ? alphas.shift() : undefined;
    const beta = takesBeta(name) ? betas.shift() : undefined;
    // ONNX takes defaults from its operators of the same name; these two are no operators, and runtimes disagree.
    if ((name === 'Affine' || name === 'ScaledTanh') && (alpha === undefined || beta === undefined)) {
      const missing = alpha === undefined ? 'activation_alpha' : 'activation_beta';
      throw new BadInputError(
        'bad-attribute',
        `node ${nodeLabel(node)}: activation ${name} needs a value in ${missing}, for which ONNX has no default`,
      );
    }
    return activation(name, alpha, beta);
  });
}

/** @returns Infinity where nothing is clipped */
function readClip(node: NodeProto): number {
  const clip = floatAttribute(node, 'clip') ?? Infinity;
  if (!(clip > 0)) throw new BadInputError('bad-attribute', `node ${nodeLabel(node)}: clip is ${clip}, not a positive number`);
  return clip;
}

function constantInput(node: NodeProto, constants: Constants, index: number, name: string): Tensor | null {
  const input = node.input[index] ?? '';
  if (input === '') return null;
  const value = constants.value(input);
  if (!value) {
    const producer = constants.producer(input);
    const origin = producer ? `is computed by ${producer.opType} (node ${nodeLabel(producer)})` : 'is an input of the graph';
    throw new BadInputError(
      'weights-not-constant',
      `node ${nodeLabel(node)}: its ${name} "${input}" ${origin}, not a stored constant; export the model with its weights inside`,
    );
  }
  const bad = value.data.findIndex((v) => !Number.isFinite(v));
  if (bad >= 0) {
    throw new BadInputError(
      'weights-not-finite',
      `node ${nodeLabel(node)}: its ${name} "${input}" holds ${value.data[bad]} at position ${bad}`,
    );
  }
  return value;
}

function expectShape(node: NodeProto, name: string, tensor: Tensor, dims: readonly number[]): void {
  if (tensor.dims.length !== dims.length || tensor.dims.some((d, i) => d !== dims[i])) {
    throw new BadInputError(
      'bad-shape',
      `node ${nodeLabel(node)}: ${name} has shape [${tensor.dims.join(', ')}] where [${dims.join(', ')}] is needed`,
    );
  }
}

/** Direction d of a [directions, rows, cols] tensor. */
function directionMatrix(tensor: Tensor, d: number): Matrix {
  const [, rows, cols] = tensor.dims as [number, number, number];
  return matrix(rows, cols, tensor.data.subarray(d * rows * cols, (d + 1) * rows * cols));
}

function buildCell(
  node: NodeProto,
  kind: Cell['kind'],
  w: Matrix,
  r: Matrix,
  b: Float64Array,
  p: Float64Array | null,
  activations: readonly Activation[],
): Cell {
  const hiddenSize = r.cols;
  const gates = gateCount[kind];
  const gate = (index: number, act: Activation, withRecurrentBias = true): Gate => {
    const from = index * hiddenSize;
    return {
      input: rowRange(w, from, from + hiddenSize),
      recurrent: rowRange(r, from, from + hiddenSize),
      bias: Float64Array.from(
        { length: hiddenSize },
        (_, j) => b[from + j]! + (withRecurrentBias ? b[gates * hiddenSize + from + j]! : 0),
      ),
      activation: act,
    };
  };
  const base = { inputSize: w.cols, hiddenSize, clip: readClip(node) };
  const [f, g, h] = activations as [Activation, Activation, Activation];
  switch (kind) {
    case 'rnn':
      return { kind, ...base, gate: gate(0, f) };
    case 'lstm':
      // ONNX's order of the gates is i, o, f, c; of the peepholes i, o, f.
      return {
        kind,
        ...base,
        input: gate(0, f),
        output: gate(1, f),
        forget: gate(2, f),
        candidate: gate(3, g),
        outputActivation: h,
        peephole: p && {
          input: p.subarray(0, hiddenSize),
          output: p.subarray(hiddenSize, 2 * hiddenSize),
          forget: p.subarray(2 * hiddenSize),
        },
        coupled: intAttribute(node, 'input_forget') === 1,
      };
    case 'gru': {
      const linearBeforeReset = intAttribute(node, 'linear_before_reset') === 1;
      const recurrentBias = linearBeforeReset ? b.slice(5 * hiddenSize, 6 * hiddenSize) : new Float64Array(hiddenSize);
      return {
        kind,
        ...base,
        update: gate(0, f),
        reset: gate(1, f),
        candidate: gate(2, g, !linearBeforeReset),
        recurrentBias,
        linearBeforeReset,
      };
    }
  }
}

/** A constant initial state that is the same for every sequence of the batch; `input` for everything else. */
function initialStates(
  constants: Constants,
  names: readonly string[],
  layout: 0 | 1,
  hiddenSize: number,
  direction: number,
): Float64Array | 'input' {
  const state = new Float64Array(names.length * hiddenSize);
  for (const [part, name] of names.entries()) {
    if (name === '' || constants.isZero(name)) continue;
    const value = constants.value(name);
    if (!value || value.dims.length !== 3) return 'input';
    const [batch, directions] = layout === 0 ? [value.dims[1]!, value.dims[0]!] : [value.dims[0]!, value.dims[1]!];
    for (let n = 0; n < batch; n++) {
      const from = (layout === 0 ? direction * batch + n : n * directions + direction) * hiddenSize;
      for (let j = 0; j < hiddenSize; j++) {
        if (n === 0) state[part * hiddenSize + j] = value.data[from + j]!;
        else if (state[part * hiddenSize + j] !== value.data[from + j]) return 'input';
      }
    }
  }
  return state;
}

/** @throws BadInputError that names the node and what does not fit */
export function readRecurrentNode(node: NodeProto, constants: Constants): RecurrentNode {
  const kind = node.opType.toLowerCase() as Cell['kind'];
  const directionAttribute = stringAttribute(node, 'direction') ?? 'forward';
  if (!['forward', 'reverse', 'bidirectional'].includes(directionAttribute)) {
    throw new BadInputError('bad-attribute', `node ${nodeLabel(node)}: direction is "${directionAttribute}"`);
  }
  const directions = directionAttribute === 'bidirectional' ? 2 : 1;
  const layout = intAttribute(node, 'layout') === 1 ? 1 : 0;

  const w = constantInput(node, constants, 1, 'input weight W');
  const r = constantInput(node, constants, 2, 'recurrent weight R');
  if (!w || !r) throw new BadInputError('bad-shape', `node ${nodeLabel(node)}: its weight ${w ? 'R' : 'W'} is missing`);
  if (r.dims.length !== 3) throw new BadInputError('bad-shape', `node ${nodeLabel(node)}: R has rank ${r.dims.length}, not 3`);
  const hiddenSize = r.dims[2]!;
  const declared = intAttribute(node, 'hidden_size');
  if (declared !== undefined && declared !== hiddenSize) {
    throw new BadInputError('bad-shape', `node ${nodeLabel(node)}: hidden_size is ${declared} but R has ${hiddenSize} columns`);
  }
  const gates = gateCount[kind];
  const inputSize = w.dims[2] ?? 0;
  expectShape(node, 'R', r, [directions, gates * hiddenSize, hiddenSize]);
  expectShape(node, 'W', w, [directions, gates * hiddenSize, inputSize]);
  if (hiddenSize === 0 || inputSize === 0) throw new BadInputError('bad-shape', `node ${nodeLabel(node)}: a size is 0`);
  const b = constantInput(node, constants, 3, 'bias B');
  if (b) expectShape(node, 'B', b, [directions, 2 * gates * hiddenSize]);
  const p = kind === 'lstm' ? constantInput(node, constants, 7, 'peephole weight P') : null;
  if (p) expectShape(node, 'P', p, [directions, 3 * hiddenSize]);

  const activations = readActivations(node, kind, directions);
  const initialH = node.input[5] ?? '';
  const initialC = kind === 'lstm' ? (node.input[6] ?? '') : '';
  const perDirection = activationCount[kind];
  return {
    node,
    kind,
    inputSize,
    hiddenSize,
    layout,
    type: r.type,
    x: node.input[0] ?? '',
    sequenceLens: node.input[4] ?? '',
    initialH,
    initialC,
    y: node.output[0] ?? '',
    yH: node.output[1] ?? '',
    yC: kind === 'lstm' ? (node.output[2] ?? '') : '',
    directions: Array.from({ length: directions }, (_, d) => ({
      cell: buildCell(
        node,
        kind,
        directionMatrix(w, d),
        directionMatrix(r, d),
        b
          ? b.data.subarray(d * 2 * gates * hiddenSize, (d + 1) * 2 * gates * hiddenSize)
          : new Float64Array(2 * gates * hiddenSize),
        p && p.data.subarray(d * 3 * hiddenSize, (d + 1) * 3 * hiddenSize),
        activations.slice(d * perDirection, (d + 1) * perDirection),
      ),
      reverse: directionAttribute === 'reverse' || d === 1,
      initialState: initialStates(constants, kind === 'lstm' ? [initialH, initialC] : [initialH], layout, hiddenSize, d),
    })),
  };
}
