import type { Activation } from '../../src/network/activation.js';
import type { Cell, Gate } from '../../src/network/cell.js';
import { product, type Matrix } from '../../src/network/matrix.js';

/** Gradients of z · Φ(s, x) over the state and the input. */
export interface Gradient {
  readonly state: Float64Array;
  readonly input: Float64Array;
}

/** Value and slope of a gate. The slope is a quotient of differences, so that it owes nothing to the slopes that the certificates use. */
interface Value {
  readonly value: Float64Array;
  readonly slope: Float64Array;
}

function evaluate(act: Activation, pre: Float64Array, clip: number): Value {
  const at = (v: number) => act.value(Math.min(clip, Math.max(-clip, v)));
  const h = 1e-6;
  return { value: pre.map(at), slope: pre.map((v) => (at(v + h) - at(v - h)) / (2 * h)) };
}

function sum(...vectors: readonly Float64Array[]): Float64Array {
  return vectors[0]!.map((_, j) => vectors.reduce((total, v) => total + v[j]!, 0));
}

function times(...vectors: readonly Float64Array[]): Float64Array {
  return vectors[0]!.map((_, j) => vectors.reduce((total, v) => total * v[j]!, 1));
}

/** out += mᵀ v */
function addTransposed({ cols, data }: Matrix, v: Float64Array, out: Float64Array): void {
  for (const [r, factor] of v.entries()) {
    if (factor !== 0) for (let c = 0; c < cols; c++) out[c] = out[c]! + factor * data[r * cols + c]!;
  }
}

/** The adjoint of one step, by hand: z is carried back through the cell's equations. */
export function pullBack(cell: Cell, x: Float64Array, s: Float64Array, z: Float64Array): Gradient {
  const n = cell.hiddenSize;
  const h = s.subarray(0, n);
  const gradient = { state: new Float64Array(s.length), input: new Float64Array(x.length) };
  const [gh, gc] = [gradient.state.subarray(0, n), gradient.state.subarray(n)];
  const pre = (g: Gate) => sum(product(g.input, x), product(g.recurrent, h), g.bias);
  const add = (out: Float64Array, v: Float64Array) => v.forEach((e, j) => (out[j] = out[j]! + e));
  const back = (g: Gate, w: Float64Array) => {
    addTransposed(g.recurrent, w, gh);
    addTransposed(g.input, w, gradient.input);
  };
  switch (cell.kind) {
    case 'rnn': {
      back(cell.gate, times(evaluate(cell.gate.activation, pre(cell.gate), cell.clip).slope, z));
      break;
    }
    case 'lstm': {
      const c = s.subarray(n);
      const none = new Float64Array(n);
      const p = cell.peephole ?? { input: none, output: none, forget: none };
      const gate = (g: Gate, weights: Float64Array, state: Float64Array) =>
        evaluate(g.activation, sum(pre(g), times(weights, state)), cell.clip);
      const i = gate(cell.input, p.input, c);
      const f = cell.coupled
        ? { value: i.value.map((v) => 1 - v), slope: i.slope.map((v) => -v) }
        : gate(cell.forget, p.forget, c);
      const g = gate(cell.candidate, none, c);
      const next = sum(times(f.value, c), times(i.value, g.value));
      const o = gate(cell.output, p.output, next);
      const t = evaluate(cell.outputActivation, next, Infinity);
      const [zh, zc] = [z.subarray(0, n), z.subarray(n)];
      const wo = times(t.value, o.slope, zh);
      const zNext = sum(zc, times(o.value, t.slope, zh), times(p.output, wo));
      const wf = times(c, f.slope, zNext);
      const wi = sum(times(g.value, i.slope, zNext), cell.coupled ? wf : none);
      back(cell.output, wo);
      back(cell.input, wi);
      back(cell.candidate, times(i.value, g.slope, zNext));
      if (!cell.coupled) back(cell.forget, wf);
      add(gc, sum(times(f.value, zNext), times(p.input, wi), cell.coupled ? none : times(p.forget, wf)));
      break;
    }
    case 'gru': {
      const u = evaluate(cell.update.activation, pre(cell.update), cell.clip);
      const r = evaluate(cell.reset.activation, pre(cell.reset), cell.clip);
      const { candidate } = cell;
      const recurrent = sum(product(candidate.recurrent, h), cell.recurrentBias);
      const share = cell.linearBeforeReset ? times(r.value, recurrent) : product(candidate.recurrent, times(r.value, h));
      const n1 = evaluate(candidate.activation, sum(product(candidate.input, x), candidate.bias, share), cell.clip);
      const wn = times(
        u.value.map((v) => 1 - v),
        n1.slope,
        z,
      );
      addTransposed(candidate.input, wn, gradient.input);
      if (cell.linearBeforeReset) {
        addTransposed(candidate.recurrent, times(r.value, wn), gh);
        back(cell.reset, times(recurrent, r.slope, wn));
      } else {
        const inner = new Float64Array(n);
        addTransposed(candidate.recurrent, wn, inner);
        add(gh, times(r.value, inner));
        back(cell.reset, times(h, r.slope, inner));
      }
      const distance = h.map((v, j) => v - n1.value[j]!);
      back(cell.update, times(distance, u.slope, z));
      add(gh, times(u.value, z));
      break;
    }
  }
  return gradient;
}
