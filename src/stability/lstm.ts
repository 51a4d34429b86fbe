import type { LstmCell } from '../network/cell.js';
import type { CellBounds } from './cellBounds.js';
import {
  activated,
  activationRange,
  box,
  hull,
  magnitude,
  mixtureOf,
  productOf,
  slopeBound,
  sumOf,
  times,
  type Box,
} from './interval.js';
import { logisticMix, logisticSum, logisticTanhProduct } from './jointMaxima.js';
import {
  boundedGate,
  gateRange,
  preActivationChange,
  reachableBox,
  unbounded,
  widened,
  type Enclosure,
  type GateRange,
} from './reachable.js';
import { up } from './rounding.js';

/** Suprema over every gate value and state that can occur, per unit. */
export interface LstmRanges {
  readonly kind: 'lstm';
  /** Logistic gates and tanh elsewhere, whose slopes are functions of their values. */
  readonly standard: boolean;
  readonly input: GateRange;
  readonly output: GateRange;
  readonly forget: GateRange;
  readonly candidate: GateRange;
  /** sup |c|. */
  readonly cellSize: Float64Array;
  /** sup |g − c|. */
  readonly distance: Float64Array;
  /** Value and slope of the cell's output activation. */
  readonly squashed: GateRange;
}

/**
 * LSTM: c′ = f c + i g, h′ = o · tanh(c′). With a_g = |R_g||Δh| + |W_g||Δx| (+ |P_g||Δc| with peepholes), the mean value
 * theorem along the segment between two states gives, gate values of a row taken at one point of the segment,
 *   |Δc′| ≤ sup_f [f |Δc| + C f(1−f) a_f] + sup_{i,g} [i(1−g²) a_g + |g| i(1−i) a_i],   C = sup |c|,
 *   |Δh′| ≤ sup_{o,τ} [o(1−τ²) |Δc′| + τ o(1−o) a_o],                                  τ = |tanh c′|.
 * Other activations than ONNX's defaults use the product of separate suprema.
 */
export function boundLstm(cell: LstmCell, input: Box, initial: Box, within: Enclosure | null): CellBounds {
  const n = cell.hiddenSize;
  const gatesFor = (x: Box) => ({
    input: boundedGate(cell.input, x, within),
    output: boundedGate(cell.output, x, within),
    forget: boundedGate(cell.forget, x, within),
    candidate: boundedGate(cell.candidate, x, within),
  });
  const gates = gatesFor(input);
  const peephole = (weights: Float64Array | undefined, c: Box): Box | undefined =>
    weights && productOf({ lower: weights, upper: weights }, c);
  const complement = (b: Box): Box => ({ lower: b.upper.map((v) => 1 - v), upper: b.lower.map((v) => 1 - v) });

  /** Ranges of all gates for states of a box, and of the new cell state. */
  const ranges = (state: Box, { input, output, forget, candidate } = gates) => {
    const h = part(state, 0, n);
    const c = part(state, n, 2 * n);
    const i = gateRange(input, h, cell.clip, peephole(cell.peephole?.input, c));
    const f = cell.coupled
      ? { value: complement(i.value), slope: i.slope }
      : gateRange(forget, h, cell.clip, peephole(cell.peephole?.forget, c));
    const g = gateRange(candidate, h, cell.clip);
    // Coupled gates make c′ = (1−i) c + i g a convex combination, which separate products would not show.
    const nextC = cell.coupled ? mixtureOf(i.value, g.value, c) : sumOf(productOf(f.value, c), productOf(i.value, g.value));
    const o = gateRange(output, h, cell.clip, peephole(cell.peephole?.output, nextC));
    return { c, i, f, g, o, nextC };
  };
  const image = (state: Box, x?: Box): Box => {
    const { o, nextC } = ranges(state, x && gatesFor(x));
    return joined(productOf(o.value, activated(cell.outputActivation, nextC)), nextC);
  };

  const state = reachableBox(initial, () => candidateBox(cell, initial, ranges), image, within);
  const r = ranges(state);
  const cellSize = magnitude(r.c);
  const candidateSize = magnitude(r.g.value);
  const squashed = { value: activated(cell.outputActivation, r.nextC), slope: slopeBound(cell.outputActivation, r.nextC) };
  const logistic = [cell.input, cell.output, cell.forget].every((g) => g.activation.name === 'Sigmoid');
  const standard = logistic && cell.candidate.activation.name === 'Tanh' && cell.outputActivation.name === 'Tanh';
  const distance = r.c.upper.map((v, j) => Math.max(v - r.g.value.lower[j]!, r.g.value.upper[j]! - r.c.lower[j]!));

  const compare = (change: Float64Array, dx: Float64Array | null, limits?: readonly Float64Array[]): Float64Array => {
    const dh = change.subarray(0, n);
    const dc = change.subarray(n);
    const ai = preActivationChange(gates.input, dh, dx, limits?.[0]);
    const af = cell.coupled ? ai : preActivationChange(gates.forget, dh, dx, limits?.[1]);
    const ag = preActivationChange(gates.candidate, dh, dx, limits?.[2]);
    const ao = preActivationChange(gates.output, dh, dx, limits?.[3]);
    const out = new Float64Array(2 * n);
    for (let j = 0; j < n; j++) {
      const p = cell.peephole;
      const aij = ai[j]! + (p ? Math.abs(p.input[j]!) * dc[j]! : 0);
      const afj = cell.coupled ? aij : af[j]! + (p ? Math.abs(p.forget[j]!) * dc[j]! : 0);
      const tc = up(cellChange(j, dc[j]!, afj, aij, ag[j]!));
      const aoj = ao[j]! + (p ? Math.abs(p.output[j]!) * tc : 0);
      out[n + j] = tc;
      out[j] = up(hiddenChange(j, tc, aoj));
    }
    return out;
  };
  const cellChange = (j: number, dc: number, af: number, ai: number, ag: number): number => {
    const [iLow, iHigh] = [r.i.value.lower[j]!, r.i.value.upper[j]!];
    if (cell.coupled) {
      if (standard) return logisticMix(iLow, iHigh, times(r.g.slope[j]!, ag), dc, times(distance[j]!, ai));
      return (
        times(Math.max(Math.abs(r.f.value.lower[j]!), Math.abs(r.f.value.upper[j]!)), dc) +
        times(Math.max(Math.abs(iLow), Math.abs(iHigh)) * r.g.slope[j]!, ag) +
        times(distance[j]! * r.i.slope[j]!, ai)
      );
    }
    const [fLow, fHigh] = [r.f.value.lower[j]!, r.f.value.upper[j]!];
    if (standard) {
      const [gLow, gHigh] = magnitudeRange(r.g.value, j);
      return logisticSum(fLow, fHigh, dc, times(cellSize[j]!, af)) + logisticTanhProduct(iLow, iHigh, gLow, gHigh, ag, ai);
    }
    return (
      times(Math.max(Math.abs(fLow), Math.abs(fHigh)), dc) +
      times(times(cellSize[j]!, r.f.slope[j]!), af) +
      times(Math.max(Math.abs(iLow), Math.abs(iHigh)) * r.g.slope[j]!, ag) +
      times(candidateSize[j]! * r.i.slope[j]!, ai)
    );
  };
  const hiddenChange = (j: number, tc: number, ao: number): number => {
    const [oLow, oHigh] = [r.o.value.lower[j]!, r.o.value.upper[j]!];
    const [tLow, tHigh] = magnitudeRange(squashed.value, j);
    if (standard) return logisticTanhProduct(oLow, oHigh, tLow, tHigh, tc, ao);
    return times(Math.max(Math.abs(oLow), Math.abs(oHigh)) * squashed.slope[j]!, tc) + times(times(tHigh, r.o.slope[j]!), ao);
  };

  /** What a change by one of a gate's pre-activation makes of c′ and h′. */
  const share = (cellShare: (j: number) => number, outputShare = 0) => {
    const out = new Float64Array(2 * n);
    for (let j = 0; j < n; j++) {
      const c = cellShare(j);
      out[n + j] = up(c);
      out[j] = up(hiddenChange(j, c, outputShare + (cell.peephole ? Math.abs(cell.peephole.output[j]!) * c : 0)));
    }
    return out;
  };
  const inputPaths = [
    { matrix: cell.input.input, share: share((j) => cellChange(j, 0, cell.coupled ? 1 : 0, 1, 0)) },
    ...(cell.coupled ? [] : [{ matrix: cell.forget.input, share: share((j) => cellChange(j, 0, 1, 0, 0)) }]),
    { matrix: cell.candidate.input, share: share((j) => cellChange(j, 0, 0, 0, 1)) },
    { matrix: cell.output.input, share: share(() => 0, 1) },
  ];

  return {
    state,
    image,
    input,
    inputPaths,
    compare,
    recurrentNorms: (metric) =>
      [cell.input, cell.forget, cell.candidate, cell.output].map((gate) => metric.rowNorms(gate.recurrent)),
    ranges: {
      kind: 'lstm',
      standard,
      input: r.i,
      output: r.o,
      forget: r.f,
      candidate: r.g,
      cellSize,
      distance,
      squashed,
    },
    gates: new Map([
      ['input', r.i.value],
      ['output', r.o.value],
      ['forget', r.f.value],
      ['candidate', r.g.value],
    ]),
  };
}

function part(b: Box, from: number, to: number): Box {
  return { lower: b.lower.subarray(from, to), upper: b.upper.subarray(from, to) };
}

function joined(h: Box, c: Box): Box {
  return { lower: Float64Array.of(...h.lower, ...c.lower), upper: Float64Array.of(...h.upper, ...c.upper) };
}

/** Smallest and largest magnitude of element j. */
export function magnitudeRange(b: Box, j: number): [number, number] {
  const [low, high] = [b.lower[j]!, b.upper[j]!];
  return [low > 0 ? low : high < 0 ? -high : 0, Math.max(Math.abs(low), Math.abs(high))];
}

/** |c| ≤ sup|i g| / (1 − sup f) is invariant; with peepholes sup f depends on c, so the radius is raised until it fits. */
function candidateBox(
  cell: LstmCell,
  initial: Box,
  ranges: (state: Box) => { i: { value: Box }; f: { value: Box }; g: { value: Box } },
): Box {
  const n = cell.hiddenSize;
  const everywhere = (act: LstmCell['outputActivation']) => activationRange(act, -Infinity, Infinity).value;
  const [oLow, oHigh] = everywhere(cell.output.activation);
  const [tLow, tHigh] = everywhere(cell.outputActivation);
  const hiddenRadius = Math.max(Math.abs(oLow), Math.abs(oHigh)) * Math.max(Math.abs(tLow), Math.abs(tHigh));
  if (!Number.isFinite(hiddenRadius)) return unbounded(2 * n);
  // A little wider than the radius: the outward rounded image of the box must fit in it.
  const h = hull(widened(box(n, -hiddenRadius, hiddenRadius), 1e-12), part(initial, 0, n));
  const initialC = part(initial, n, 2 * n);
  let c = initialC;
  for (let attempt = 0; attempt < 40; attempt++) {
    const { i, f, g } = ranges(joined(h, c));
    const gain = magnitude(productOf(i.value, g.value));
    const forget = magnitude(f.value);
    const radius = gain.map((v, j) => {
      const rest = 1 - forget[j]!;
      // The margin covers the rounding of f c + i g, which is relative to c, not to the distance left.
      return v === 0 ? 0 : rest > 0 ? (v / rest) * (1 + 1e-9 + 1e-14 / rest) : Infinity;
    });
    const next = cell.coupled
      ? hull(initialC, { lower: g.value.lower.map((v) => v - 1e-9), upper: g.value.upper.map((v) => v + 1e-9) })
      : hull(initialC, { lower: radius.map((v) => -v), upper: radius });
    const grew = next.upper.some((v, j) => v > c.upper[j]!) || next.lower.some((v, j) => v < c.lower[j]!);
    c = hull(c, next);
    if (!cell.peephole || !grew) break;
  }
  return joined(h, c);
}
