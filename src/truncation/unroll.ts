import { gatesOf, type Cell, type Gate, type GruCell, type LstmCell, type RnnCell } from '../network/cell.js';
import type { RecurrentNode } from '../checkpoint/onnx/recurrent.js';
import { DataType } from '../checkpoint/onnx/tensor.js';
import { transposed, type Matrix } from '../network/matrix.js';
import { sameActivation } from '../network/activation.js';
import { activationNode } from './activationNodes.js';
import { intAttribute, intsAttribute, type GraphBuilder } from '../checkpoint/onnx/graphBuilder.js';

/**
 * Writes a recurrent node as `length` feed-forward steps that share one set of weights. Inside, every state is
 * [1, batch, H] and X is [length, batch, I]; the input projection W x + b of all steps is one product outside the steps.
 */

/** Hidden states after every step, in the order of positions, and the last states of both parts. */
interface Steps {
  readonly hidden: string[];
  readonly lastHidden: string;
  readonly lastCell: string | null;
}

/** Name of a state, or null for zeros: the products with them are left out of the first step. */
type State = string | null;

function stack(parts: readonly Matrix[]): Matrix {
  const rows = parts.reduce((n, m) => n + m.rows, 0);
  const cols = parts[0]!.cols;
  const data = new Float64Array(rows * cols);
  let offset = 0;
  for (const part of parts) {
    data.set(part.data, offset);
    offset += part.data.length;
  }
  return { rows, cols, data };
}

function join(parts: readonly Float64Array[]): Float64Array {
  return Float64Array.from(parts.flatMap((p) => [...p]));
}

/** Weight of the gates side by side, transposed so that a row vector times it gives all gates at once. */
function weight(g: GraphBuilder, key: string, parts: readonly Matrix[]): string {
  const t = transposed(stack(parts));
  return g.constant(key, [t.rows, t.cols], t.data);
}

export class DirectionUnroller {
  /** Input projection of every step with the bias added, [1, batch, gates · H] each. */
  private readonly projected: string[];
  private readonly clip: number;
  private readonly size: number;

  constructor(
    private readonly g: GraphBuilder,
    private readonly cell: Cell,
    private readonly key: string,
    x: string,
    length: number,
    private readonly gates: readonly Gate[],
  ) {
    this.clip = cell.clip;
    this.size = cell.hiddenSize;
    const product = g.matMul(
      x,
      weight(
        g,
        `${key}_W`,
        gates.map((gate) => gate.input),
      ),
    );
    const bias = join(gates.map((gate) => gate.bias));
    const sum = bias.every((b) => b === 0)
      ? product
      : g.binary('Add', product, g.constant(`${key}_B`, [bias.length], bias), true);
    this.projected = g.split(sum, 0, new Array<number>(length).fill(1));
  }

  step(position: number, h: State, c: State): { h: string; c: State } {
    switch (this.cell.kind) {
      case 'rnn':
        return { h: this.rnn(this.cell, this.projected[position]!, h), c: null };
      case 'lstm':
        return this.lstm(this.cell, this.projected[position]!, h, c);
      case 'gru':
        return { h: this.gru(this.cell, this.projected[position]!, h), c: null };
    }
  }

  private add(a: string, b: string): string {
    return this.g.binary('Add', a, b);
  }

  private mul(a: string, b: string): string {
    return this.g.binary('Mul', a, b);
  }

  private recurrent(key: string, gates: readonly Gate[], h: string): string {
    return this.g.matMul(
      h,
      weight(
        this.g,
        `${this.key}_${key}`,
        gates.map((gate) => gate.recurrent),
      ),
    );
  }

  private activate(gate: Gate, x: string): string {
    return activationNode(this.g, gate.activation, this.g.clip(x, this.clip));
  }

  /** Several gates of the same activation at once, then apart. */
  private activateTogether(gates: readonly Gate[], x: string): string[] {
    const sizes = gates.map(() => this.size);
    if (gates.every((gate) => sameActivation(gate.activation, gates[0]!.activation)))
      return this.g.split(this.activate(gates[0]!, x), 2, sizes);
    return this.g.split(x, 2, sizes).map((part, i) => this.activate(gates[i]!, part));
  }

  private rnn(cell: RnnCell, x: string, h: State): string {
    return this.activate(cell.gate, h === null ? x : this.add(x, this.recurrent('R', [cell.gate], h)));
  }

  private lstm(cell: LstmCell, x: string, h: State, c: State): { h: string; c: string } {
    const sum = h === null ? x : this.add(x, this.recurrent('R', this.gates, h));
    const n = this.size;
    let i: string;
    let o: string;
    let f: string | null = null;
    let g: string;
    if (cell.peephole) {
      const parts = this.g.split(
        sum,
        2,
        this.gates.map(() => n),
      );
      const [xi, xo, third, fourth] = parts as [string, string, string, string];
      const withPeephole = (part: string, key: string, weights: Float64Array, state: State) =>
        state === null
          ? part
          : this.add(part, this.g.binary('Mul', state, this.g.constant(`${this.key}_${key}`, [n], weights), true));
      i = this.activate(cell.input, withPeephole(xi, 'Pi', cell.peephole.input, c));
      if (!cell.coupled) f = this.activate(cell.forget, withPeephole(third, 'Pf', cell.peephole.forget, c));
      g = this.activate(cell.candidate, cell.coupled ? third : fourth);
      const next = this.nextCell(i, f, g, c);
      o = this.activate(cell.output, withPeephole(xo, 'Po', cell.peephole.output, next));
      return { h: this.mul(o, activationNode(this.g, cell.outputActivation, next)), c: next };
    }
    const gateCount = this.gates.length - 1;
    const [gateSum, candidateSum] = this.g.split(sum, 2, [gateCount * n, n]) as [string, string];
    const values = this.activateTogether(this.gates.slice(0, gateCount), gateSum);
    [i, o] = values as [string, string];
    f = cell.coupled ? null : values[2]!;
    g = this.activate(cell.candidate, candidateSum);
    const next = this.nextCell(i, f, g, c);
    return { h: this.mul(o, activationNode(this.g, cell.outputActivation, next)), c: next };
  }

  /** f c + i g, with f = 1 − i where it is not given. */
  private nextCell(i: string, f: string | null, g: string, c: State): string {
    const fresh = this.mul(i, g);
    if (c === null) return fresh;
    // The one comes second: before operator set 7 only the second operand is broadcast. i − 1 is −f.
    const forget = f ?? this.g.binary('Mul', this.g.binary('Sub', i, this.g.scalar(1), true), this.g.scalar(-1), true);
    return this.add(this.mul(forget, c), fresh);
  }

  private gru(cell: GruCell, x: string, h: State): string {
    const n = this.size;
    const [gateInput, candidateInput] = this.g.split(x, 2, [2 * n, n]) as [string, string];
    const both = [cell.update, cell.reset];
    const recurrentBias = cell.recurrentBias.every((b) => b === 0)
      ? null
      : this.g.constant(`${this.key}_Rb`, [n], cell.recurrentBias);
    const [z, r] = this.activateTogether(both, h === null ? gateInput : this.add(gateInput, this.recurrent('Rzr', both, h))) as [
      string,
      string,
    ];
    let candidateSum = candidateInput;
    if (cell.linearBeforeReset) {
      const product = h === null ? null : this.recurrent('Rh', [cell.candidate], h);
      const inner = product && recurrentBias ? this.g.binary('Add', product, recurrentBias, true) : product;
      if (inner) candidateSum = this.add(candidateInput, this.mul(r, inner));
      else if (recurrentBias) candidateSum = this.add(candidateInput, this.g.binary('Mul', r, recurrentBias, true));
    } else if (h !== null) {
      candidateSum = this.add(candidateInput, this.recurrent('Rh', [cell.candidate], this.mul(r, h)));
    }
    const candidate = this.activate(cell.candidate, candidateSum);
    // (1 − z) n + z h = n + z (h − n): one product less.
    if (h === null) return this.g.binary('Sub', candidate, this.mul(z, candidate));
    return this.add(candidate, this.mul(z, this.g.binary('Sub', h, candidate)));
  }
}

/** Chooses by sequence_lens between a state at a position and what it was before. */
class SequenceEnds {
  private readonly lengths: string;
  private readonly masks = new Map<number, readonly [inside: string, outside: string]>();

  constructor(
    private readonly g: GraphBuilder,
    sequenceLens: string,
  ) {
    // Operator sets before 9 have no Where and compare floats only; there the masks are numbers that are multiplied.
    const lengths = g.opset >= 9 ? sequenceLens : g.node('Cast', [sequenceLens], [intAttribute('to', g.type)]);
    this.lengths = g.reshape(lengths, [1, -1, 1]);
  }

  /** `inside` where the position belongs to the sequence, else `outside`; null for zero. */
  select(position: number, inside: string, outside: State): string {
    const { g } = this;
    const [isInside, isOutside] = this.mask(position);
    if (g.opset >= 9) return g.node('Where', [isInside, inside, outside ?? g.scalar(0)]);
    const kept = g.binary('Mul', inside, isInside);
    return outside === null ? kept : g.binary('Add', kept, g.binary('Mul', outside, isOutside));
  }

  private mask(position: number): readonly [string, string] {
    const known = this.masks.get(position);
    if (known) return known;
    const { g } = this;
    const type = g.opset >= 9 ? DataType.INT32 : g.type;
    const less = g.binary('Less', g.constant(`position_${position}`, [1], [position], type), this.lengths);
    const number = (name: string) => g.node('Cast', [name], [intAttribute('to', g.type)]);
    const made = g.opset >= 9 ? ([less, ''] as const) : ([number(less), number(g.node('Not', [less]))] as const);
    this.masks.set(position, made);
    return made;
  }
}

export interface UnrolledOutputs {
  /** Positions of Y to keep: all, or a single one. */
  readonly keep: 'all' | number;
}

/**
 * @param isZero true for an initial state that is zero, so that it need not be read
 */
export function unrollNode(
  g: GraphBuilder,
  node: RecurrentNode,
  length: number,
  isZero: (name: string) => boolean,
  { keep }: UnrolledOutputs,
): void {
  const batchFirst = node.layout === 1;
  const x = batchFirst ? g.transpose(node.x, [1, 0, 2]) : node.x;
  const directionCount = node.directions.length;

  const initial = (name: string, d: number): State => {
    if (name === '' || isZero(name)) return null;
    const whole = batchFirst ? g.transpose(name, [1, 0, 2]) : name;
    return directionCount === 1 ? whole : g.slice(whole, 0, d, d + 1);
  };
  const lengths = node.sequenceLens === '' ? null : new SequenceEnds(g, node.sequenceLens);

  const runs = node.directions.map(({ cell, reverse }, d): Steps => {
    const unroller = new DirectionUnroller(
      g,
      cell,
      directionCount === 1 ? 'cell' : reverse ? 'reverse' : 'forward',
      x,
      length,
      gatesOf(cell),
    );
    let h = initial(node.initialH, d);
    let c = initial(node.initialC, d);
    const hidden = new Array<string>(length);
    for (let s = 0; s < length; s++) {
      const position = reverse ? length - 1 - s : s;
      const next = unroller.step(position, h, c);
      if (lengths === null) {
        h = next.h;
        c = next.c;
        hidden[position] = next.h;
      } else {
        // Past the end of its sequence the state stays and the output is zero, as ONNX defines sequence_lens.
        hidden[position] = lengths.select(position, next.h, null);
        h = h === null ? hidden[position]! : lengths.select(position, next.h, h);
        c = next.c === null ? null : lengths.select(position, next.c, c);
      }
    }
    return { hidden, lastHidden: h!, lastCell: c };
  });

  const positions = keep === 'all' ? Array.from({ length }, (_, p) => p) : [keep];
  if (node.y !== '') {
    // [positions, batch, H] of each direction, then a direction axis: after time, or after batch and time.
    const sequences = runs.map((run) =>
      positions.length === 1
        ? run.hidden[positions[0]!]!
        : g.concat(
            positions.map((p) => run.hidden[p]!),
            0,
          ),
    );
    const ordered = sequences.map((s) => (batchFirst ? g.transpose(s, [1, 0, 2]) : s));
    const axis = batchFirst ? 2 : 1;
    if (directionCount === 1) g.unsqueeze(ordered[0]!, axis, node.y);
    else
      g.concat(
        ordered.map((s) => g.unsqueeze(s, axis)),
        axis,
        node.y,
      );
  }
  const state = (name: string, parts: readonly string[]) => {
    if (name === '') return;
    const joined = parts.length === 1 ? parts[0]! : g.concat(parts, 0);
    if (batchFirst) g.node('Transpose', [joined], [intsAttribute('perm', [1, 0, 2])], [name]);
    else g.node('Identity', [joined], [], [name]);
  };
  state(
    node.yH,
    runs.map((r) => r.lastHidden),
  );
  state(
    node.yC,
    runs.map((r) => r.lastCell!),
  );
}
