import type { Activation } from './activation.js';
import type { Cell, Gate, GruCell, LstmCell, RnnCell } from './cell.js';
import { stateSize } from './cell.js';
import { preActivations, type Peephole } from './forward.js';
import { addProduct, addTransposedProduct, matrix, product, type Matrix } from './matrix.js';

/**
 * The exact derivative of one step of a cell at one state and input, never formed unless asked for: products with it and with
 * its transpose cost one multiplication per parameter. S is the state size: H, or 2H (h, c) for an LSTM.
 */
export interface Linearization {
  /**
   * Jacobian times vector: the change of the new state [S].
   * @param state change of the state [S]
   * @param input change of the input [I]; absent: none
   */
  tangent(state: Float64Array, input?: Float64Array): Float64Array;
  /**
   * Transposed Jacobian times vector.
   * @param cotangent of the new state [S]
   * @param input where to add the cotangent of the input [I]; absent: it is not computed
   * @returns cotangent of the state [S]
   */
  pullback(cotangent: Float64Array, input?: Float64Array): Float64Array;
  /** Derivative with respect to the state, [S, S]. */
  jacobian(): Matrix;
}

/** Values and slopes of a gate. Where the pre-activation is clipped the slope is zero. */
interface Linearized {
  readonly value: Float64Array;
  readonly slope: Float64Array;
}

function activate(activation: Activation, sums: Float64Array, clip: number): Linearized {
  const slope = sums.map((v) => (Math.abs(v) > clip ? 0 : activation.slope(v)));
  const value = sums.map((v) => activation.value(Math.min(clip, Math.max(-clip, v))));
  return { value, slope };
}

function times(a: Float64Array, b: Float64Array): Float64Array {
  return a.map((v, j) => v * b[j]!);
}

/** Change of a gate's pre-activation. */
function gateTangent(gate: Gate, h: Float64Array, x: Float64Array | undefined): Float64Array {
  const out = product(gate.recurrent, h);
  if (x) addProduct(gate.input, x, out);
  return out;
}

/** Adds what a cotangent of a gate's pre-activation means for h and x. */
function gatePullback(gate: Gate, cotangent: Float64Array, h: Float64Array, x: Float64Array | undefined): void {
  addTransposedProduct(gate.recurrent, cotangent, h);
  if (x) addTransposedProduct(gate.input, cotangent, x);
}

function rnnLinearization(cell: RnnCell, x: Float64Array, h: Float64Array): Linearization {
  const { gate, hiddenSize: n } = cell;
  const { slope } = activate(gate.activation, preActivations(gate, x, h), cell.clip);
  return {
    tangent: (state, input) => times(gateTangent(gate, state, input), slope),
    pullback: (cotangent, input) => {
      const state = new Float64Array(n);
      gatePullback(gate, times(cotangent, slope), state, input);
      return state;
    },
    jacobian: () =>
      matrix(
        n,
        n,
        gate.recurrent.data.map((v, p) => v * slope[Math.floor(p / n)]!),
      ),
  };
}

function lstmLinearization(cell: LstmCell, x: Float64Array, state: Float64Array): Linearization {
  const { hiddenSize: n, clip, coupled, peephole } = cell;
  const h = state.subarray(0, n);
  const c = state.subarray(n);
  const gate = (of: 'input' | 'output' | 'forget' | 'candidate', from: Float64Array | null): Linearized => {
    const through: Peephole | undefined =
      peephole && from && of !== 'candidate' ? { weights: peephole[of], state: from } : undefined;
    return activate(cell[of].activation, preActivations(cell[of], x, h, through), clip);
  };
  const i = gate('input', c);
  const f = coupled ? { value: i.value.map((v) => 1 - v), slope: i.slope.map((v) => -v) } : gate('forget', c);
  const g = gate('candidate', null);
  const nextC = c.map((v, j) => f.value[j]! * v + i.value[j]! * g.value[j]!);
  const o = gate('output', nextC);
  const squashed = activate(cell.outputActivation, nextC, Infinity);
  /** Slopes of c′ in the pre-activations of i, f and g, and of h′ in c′ and in o's pre-activation. */
  const byForget = times(c, f.slope);
  const byInput = coupled ? times(g.value, i.slope).map((v, j) => v + byForget[j]!) : times(g.value, i.slope);
  const byCandidate = times(i.value, g.slope);
  const byCell = times(o.value, squashed.slope);
  const byOutput = times(squashed.value, o.slope);

  return {
    tangent(change, input) {
      const dh = change.subarray(0, n);
      const dc = change.subarray(n);
      const ai = gateTangent(cell.input, dh, input);
      const af = coupled ? null : gateTangent(cell.forget, dh, input);
      const ag = gateTangent(cell.candidate, dh, input);
      const ao = gateTangent(cell.output, dh, input);
      const out = new Float64Array(2 * n);
      for (let j = 0; j < n; j++) {
        const pi = peephole ? peephole.input[j]! * dc[j]! : 0;
        const pf = peephole ? peephole.forget[j]! * dc[j]! : 0;
        const next =
          f.value[j]! * dc[j]! + byInput[j]! * (ai[j]! + pi) + (af ? byForget[j]! * (af[j]! + pf) : 0) + byCandidate[j]! * ag[j]!;
        const po = peephole ? peephole.output[j]! * next : 0;
        out[n + j] = next;
        out[j] = byCell[j]! * next + byOutput[j]! * (ao[j]! + po);
      }
      return out;
    },
    pullback(cotangent, input) {
      const out = new Float64Array(2 * n);
      const [bi, bf, bg, bo] = [new Float64Array(n), new Float64Array(n), new Float64Array(n), new Float64Array(n)];
      for (let j = 0; j < n; j++) {
        const w = cotangent[j]!;
        bo[j] = byOutput[j]! * w;
        const next = cotangent[n + j]! + byCell[j]! * w + (peephole ? peephole.output[j]! * bo[j]! : 0);
        bi[j] = byInput[j]! * next;
        bf[j] = coupled ? 0 : byForget[j]! * next;
        bg[j] = byCandidate[j]! * next;
        out[n + j] =
          f.value[j]! * next + (peephole ? peephole.input[j]! * bi[j]! + (coupled ? 0 : peephole.forget[j]! * bf[j]!) : 0);
      }
      const dh = out.subarray(0, n);
      gatePullback(cell.input, bi, dh, input);
      if (!coupled) gatePullback(cell.forget, bf, dh, input);
      gatePullback(cell.candidate, bg, dh, input);
      gatePullback(cell.output, bo, dh, input);
      return out;
    },
    jacobian() {
      const size = 2 * n;
      const out = matrix(size, size);
      for (let r = 0; r < n; r++) {
        const po = peephole ? peephole.output[r]! : 0;
        const through = byCell[r]! + byOutput[r]! * po;
        for (let k = 0; k < n; k++) {
          const p = r * n + k;
          const next =
            byInput[r]! * cell.input.recurrent.data[p]! +
            (coupled ? 0 : byForget[r]! * cell.forget.recurrent.data[p]!) +
            byCandidate[r]! * cell.candidate.recurrent.data[p]!;
          out.data[(n + r) * size + k] = next;
          out.data[r * size + k] = through * next + byOutput[r]! * cell.output.recurrent.data[p]!;
        }
        const pi = peephole ? peephole.input[r]! : 0;
        const pf = peephole && !coupled ? peephole.forget[r]! : 0;
        const own = f.value[r]! + byInput[r]! * pi + byForget[r]! * pf;
        out.data[(n + r) * size + n + r] = own;
        out.data[r * size + n + r] = through * own;
      }
      return out;
    },
  };
}

function gruLinearization(cell: GruCell, x: Float64Array, h: Float64Array): Linearization {
  const { hiddenSize: n, clip, candidate, linearBeforeReset } = cell;
  const z = activate(cell.update.activation, preActivations(cell.update, x, h), clip);
  const r = activate(cell.reset.activation, preActivations(cell.reset, x, h), clip);
  // What the reset gate multiplies: R h + Rb after the product, h before it.
  const gated = linearBeforeReset ? Float64Array.from(cell.recurrentBias) : h;
  if (linearBeforeReset) addProduct(candidate.recurrent, h, gated);
  const sums = Float64Array.from(candidate.bias);
  addProduct(candidate.input, x, sums);
  if (linearBeforeReset) for (let j = 0; j < n; j++) sums[j] = sums[j]! + r.value[j]! * gated[j]!;
  else addProduct(candidate.recurrent, times(r.value, h), sums);
  const m = activate(candidate.activation, sums, clip);
  /** Slopes of h′ in the pre-activations of the candidate and of z, and of what is reset in the pre-activation of r. */
  const byCandidate = m.slope.map((v, j) => (1 - z.value[j]!) * v);
  const byUpdate = z.slope.map((v, j) => (h[j]! - m.value[j]!) * v);
  const byReset = times(gated, r.slope);

  return {
    tangent(dh, input) {
      const az = gateTangent(cell.update, dh, input);
      const ar = times(gateTangent(cell.reset, dh, input), byReset);
      const inner = linearBeforeReset
        ? product(candidate.recurrent, dh).map((v, j) => r.value[j]! * v + ar[j]!)
        : product(
            candidate.recurrent,
            dh.map((v, j) => r.value[j]! * v + ar[j]!),
          );
      if (input) addProduct(candidate.input, input, inner);
      return dh.map((v, j) => z.value[j]! * v + byUpdate[j]! * az[j]! + byCandidate[j]! * inner[j]!);
    },
    pullback(cotangent, input) {
      const bm = times(cotangent, byCandidate);
      if (input) addTransposedProduct(candidate.input, bm, input);
      const out = times(cotangent, z.value);
      let reset = bm;
      if (linearBeforeReset) addTransposedProduct(candidate.recurrent, times(bm, r.value), out);
      else {
        reset = new Float64Array(n);
        addTransposedProduct(candidate.recurrent, bm, reset);
        for (let j = 0; j < n; j++) out[j] = out[j]! + r.value[j]! * reset[j]!;
      }
      gatePullback(cell.reset, times(reset, byReset), out, input);
      gatePullback(cell.update, times(cotangent, byUpdate), out, input);
      return out;
    },
    jacobian() {
      const out = matrix(n, n);
      const rm = candidate.recurrent.data;
      for (let row = 0; row < n; row++) {
        const inner = out.data.subarray(row * n, (row + 1) * n);
        if (linearBeforeReset) {
          for (let k = 0; k < n; k++)
            inner[k] = r.value[row]! * rm[row * n + k]! + byReset[row]! * cell.reset.recurrent.data[row * n + k]!;
        } else {
          // The reset gate stands inside the product, so this one case costs a product of two matrices.
          const weights = rm.subarray(row * n, (row + 1) * n);
          for (let k = 0; k < n; k++) inner[k] = weights[k]! * r.value[k]!;
          addTransposedProduct(cell.reset.recurrent, times(weights, byReset), inner);
        }
        for (let k = 0; k < n; k++)
          inner[k] = byCandidate[row]! * inner[k]! + byUpdate[row]! * cell.update.recurrent.data[row * n + k]!;
        inner[row] = inner[row]! + z.value[row]!;
      }
      return out;
    },
  };
}

/**
 * @param x input [I]
 * @param state h [H], or h and c after it [2H] for an LSTM
 */
export function linearize(cell: Cell, x: Float64Array, state: Float64Array): Linearization {
  if (state.length !== stateSize(cell)) throw new RangeError(`a state of ${stateSize(cell)} numbers, not ${state.length}`);
  switch (cell.kind) {
    case 'rnn':
      return rnnLinearization(cell, x, state);
    case 'lstm':
      return lstmLinearization(cell, x, state);
    case 'gru':
      return gruLinearization(cell, x, state);
  }
}
