import { activation, activationNames, sameActivation, type Activation, type ActivationName } from '../../network/activation.js';
import type { Cell } from '../../network/cell.js';
import type { Affine, AffineReader } from './affine.js';
import { floatAttribute } from './attributes.js';
import type { Constants } from './constants.js';
import { isStandard } from './model.js';
import type { NodeProto } from './onnx_pb.js';

/**
 * Recurrent cells written out in products, sums and activations, recognised by their data flow:
 *   LSTM  c′ = f c + i g, h′ = o ρ(c′)
 *   GRU   h′ = (1 − z) n + z h, in any of the ways to write it, with the reset gate before or after the product
 *   RNN   h′ = ρ(W x + R h + b)
 * where every gate is an activation of an affine function of x and h.
 */
export interface FoundCell {
  readonly kind: Cell['kind'];
  /** Tensors. */
  readonly x: string;
  readonly h: string;
  readonly c: string | null;
  readonly nextH: string;
  readonly nextC: string | null;
  readonly inputSize: number;
  readonly hiddenSize: number;
  /** Gates in ONNX's order, with weights [size, H] and bias [H]. */
  readonly gates: readonly FoundGate[];
  /** Rb of a GRU's candidate, inside the reset product; null where the reset gate comes before the product. */
  readonly recurrentBias: Float64Array | null;
  /** In ONNX's order: one for an RNN, two for a GRU, three for an LSTM. */
  readonly activations: readonly Activation[];
}

export interface FoundGate {
  readonly input: Float64Array;
  readonly recurrent: Float64Array;
  readonly bias: Float64Array;
}

interface Gate {
  readonly activation: Activation;
  readonly affine: Affine;
}

const isActivation = (opType: string) => activationNames.some((name) => name === opType);

function activationAs(node: NodeProto): Activation {
  return activation(node.opType as ActivationName, floatAttribute(node, 'alpha'), floatAttribute(node, 'beta'));
}

export class CellPatterns {
  /**
   * @param isState true for a tensor that holds a state from the step before
   */
  constructor(
    private readonly producer: (name: string) => NodeProto | undefined,
    private readonly constants: Pick<Constants, 'value'>,
    private readonly affine: AffineReader,
    private readonly isState: (name: string) => boolean,
  ) {}

  /** The cell whose new hidden state a tensor is. */
  match(nextH: string): FoundCell | null {
    return this.lstm(nextH) ?? this.gru(nextH) ?? this.rnn(nextH);
  }

  private made(name: string, opType: string): NodeProto | null {
    const node = this.producer(this.affine.base(name));
    return node && isStandard(node) && node.opType === opType ? node : null;
  }

  private activationOf(name: string): { activation: Activation; input: string } | null {
    const node = this.producer(this.affine.base(name));
    return node && isStandard(node) && isActivation(node.opType)
      ? { activation: activationAs(node), input: node.input[0]! }
      : null;
  }

  private gate(name: string): Gate | null {
    const found = this.affine.elementwise(name, isActivation);
    return found && found.affine.terms.size > 0 ? { activation: activationAs(found.node), affine: found.affine } : null;
  }

  /** Both orders of a commutative node's operands. */
  private orders(node: NodeProto | null): [string, string][] {
    if (node?.input.length !== 2) return [];
    const [a, b] = node.input as [string, string];
    return [
      [a, b],
      [b, a],
    ];
  }

  /** The input and the state among the tensors that gates are made of; null unless there is one of each. */
  private split(affines: readonly Affine[], hidden: number, state?: string): { x: string; h: string } | null {
    const bases = [...new Set(affines.flatMap((a) => [...a.terms.keys()]))];
    const rows = (base: string) => affines.map((a) => a.terms.get(base)?.rows).find((r) => r !== undefined);
    const states = bases.filter((b) => rows(b) === hidden && (state === undefined ? this.isState(b) : b === state));
    if (bases.length !== 2 || states.length !== 1) return null;
    return { h: states[0]!, x: bases.find((b) => b !== states[0])! };
  }

  private foundGate(affine: Affine, x: string, h: string, inputSize: number, hidden: number, sign = 1): FoundGate {
    const weight = (base: string, rows: number) =>
      (affine.terms.get(base)?.data ?? new Float64Array(rows * hidden)).map((v) => sign * v);
    return { input: weight(x, inputSize), recurrent: weight(h, hidden), bias: affine.bias.map((v) => sign * v) };
  }

  private lstm(nextH: string): FoundCell | null {
    for (const [outputName, shown] of this.orders(this.made(nextH, 'Mul'))) {
      const o = this.gate(outputName);
      const last = this.activationOf(shown);
      const sum = last && this.made(last.input, 'Add');
      if (!o || !sum) continue;
      for (const [kept, fresh] of this.orders(sum)) {
        for (const [forgetName, c] of this.orders(this.made(kept, 'Mul'))) {
          const f = this.gate(forgetName);
          if (!f || !this.isState(this.affine.base(c))) continue;
          for (const [inputName, candidateName] of this.orders(this.made(fresh, 'Mul'))) {
            const i = this.gate(inputName);
            const g = this.gate(candidateName);
            // i and g commute: the one that squashes as f does is the gate.
            if (!i || !g || !sameActivation(i.activation, f.activation) || !sameActivation(o.activation, f.activation)) continue;
            const affines = [i, o, f, g].map((gate) => gate.affine);
            const hidden = affines[0]!.size;
            const split = affines.every((a) => a.size === hidden) ? this.split(affines, hidden) : null;
            if (!split) continue;
            const { x, h } = split;
            const inputSize = affines.map((a) => a.terms.get(x)?.rows).find((r) => r !== undefined)!;
            return {
              kind: 'lstm',
              x,
              h,
              c: this.affine.base(c),
              nextH,
              nextC: last.input,
              inputSize,
              hiddenSize: hidden,
              gates: affines.map((a) => this.foundGate(a, x, h, inputSize, hidden)),
              recurrentBias: null,
              activations: [f.activation, g.activation, last.activation],
            };
          }
        }
      }
    }
    return null;
  }

  /** The tensor u where the given one is 1 − u. */
  private complement(name: string): string | null {
    const node = this.made(name, 'Sub');
    const one = node && this.constants.value(node.input[0]!);
    return one?.data.every((v) => v === 1) ? this.affine.base(node!.input[1]!) : null;
  }

  /** z, h and n of (1 − z) n + z h; `sign` −1 where the gate found is 1 − z. */
  private *mixtures(nextH: string): Generator<{ gate: string; sign: 1 | -1; h: string; candidate: string }> {
    const sum = this.made(nextH, 'Add');
    for (const [left, right] of this.orders(sum)) {
      for (const [a, h] of this.orders(this.made(left, 'Mul'))) {
        for (const [b, candidate] of this.orders(this.made(right, 'Mul'))) {
          if (this.complement(b) === this.affine.base(a)) yield { gate: a, sign: 1, h, candidate };
          if (this.complement(a) === this.affine.base(b)) yield { gate: b, sign: -1, h, candidate };
        }
      }
      // n + z (h − n), and h + (1 − z) (n − h).
      for (const [gate, difference] of this.orders(this.made(right, 'Mul'))) {
        const [from, minus] = this.made(difference, 'Sub')?.input ?? [];
        if (from === undefined || minus === undefined || this.affine.base(minus) !== this.affine.base(left)) continue;
        yield { gate, sign: 1, h: from, candidate: left };
        yield { gate, sign: -1, h: left, candidate: from };
      }
    }
  }

  private gru(nextH: string): FoundCell | null {
    for (const mixture of this.mixtures(nextH)) {
      const h = this.affine.base(mixture.h);
      const z = this.gate(mixture.gate);
      const n = this.activationOf(mixture.candidate);
      // Only a sigmoid's complement is the sigmoid of the negated argument.
      if (!z || !n || !this.isState(h) || (mixture.sign < 0 && z.activation.name !== 'Sigmoid')) continue;
      const found = this.resetAfter(n.input, h) ?? this.resetBefore(n.input, h);
      if (!found || !sameActivation(found.reset.activation, z.activation)) continue;
      const hidden = z.affine.size;
      const affines = [z.affine, found.reset.affine, found.input];
      const split = affines.every((a) => a.size === hidden) ? this.split(affines, hidden, h) : null;
      if (!split) continue;
      const { x } = split;
      const inputSize = affines.map((a) => a.terms.get(x)?.rows).find((r) => r !== undefined)!;
      const candidate = this.foundGate(found.input, x, h, inputSize, hidden);
      return {
        kind: 'gru',
        x,
        h,
        c: null,
        nextH,
        nextC: null,
        inputSize,
        hiddenSize: hidden,
        gates: [
          this.foundGate(z.affine, x, h, inputSize, hidden, mixture.sign),
          this.foundGate(found.reset.affine, x, h, inputSize, hidden),
          { ...candidate, recurrent: found.recurrent },
        ],
        recurrentBias: found.recurrentBias,
        activations: [z.activation, n.activation],
      };
    }
    return null;
  }

  /** n = ρ(W x + b + r · (R h + b′)) */
  private resetAfter(name: string, h: string) {
    for (const [inputName, product] of this.orders(this.made(name, 'Add'))) {
      const input = this.affine.read(inputName);
      for (const [resetName, innerName] of this.orders(this.made(product, 'Mul'))) {
        const reset = this.gate(resetName);
        const inner = this.affine.read(innerName);
        const weight = inner?.terms.get(h);
        if (!input || input.terms.has(h) || !reset || !weight || inner!.terms.size !== 1) continue;
        return { input, reset, recurrent: weight.data, recurrentBias: inner!.bias };
      }
    }
    return null;
  }

  /** n = ρ(W x + R (r · h) + b) */
  private resetBefore(name: string, h: string) {
    const affine = this.affine.read(name);
    for (const base of affine?.terms.keys() ?? []) {
      for (const [resetName, state] of this.orders(this.made(base, 'Mul'))) {
        const reset = this.gate(resetName);
        if (!affine || !reset || this.affine.base(state) !== h || affine.terms.has(h)) continue;
        const terms = new Map([...affine.terms].filter(([b]) => b !== base));
        return { input: { ...affine, terms }, reset, recurrent: affine.terms.get(base)!.data, recurrentBias: null };
      }
    }
    return null;
  }

  private rnn(nextH: string): FoundCell | null {
    const gate = this.gate(nextH);
    const split = gate && this.split([gate.affine], gate.affine.size);
    if (!split) return null;
    const { x, h } = split;
    const hiddenSize = gate.affine.size;
    const inputSize = gate.affine.terms.get(x)!.rows;
    return {
      kind: 'rnn',
      x,
      h,
      c: null,
      nextH,
      nextC: null,
      inputSize,
      hiddenSize,
      gates: [this.foundGate(gate.affine, x, h, inputSize, hiddenSize)],
      recurrentBias: null,
      activations: [gate.activation],
    };
  }
}
