import type { RnnCell } from '../network/cell.js';
import type { CellBounds } from './cellBounds.js';
import { activationRange, box, type Box } from './interval.js';
import { boundedGate, gateRange, preActivationChange, reachableBox, unbounded, type Enclosure } from './reachable.js';
import { up } from './rounding.js';

/** sup |slope| and the sign of the activation over every pre-activation that can occur. */
export interface RnnRanges {
  readonly kind: 'rnn';
  readonly slope: Float64Array;
  /** True when the slope is nowhere negative. */
  readonly monotone: boolean;
}

/** Vanilla RNN: h′ = ρ(R h + W x + b), so |Δh′_j| ≤ sup|ρ′| · (|R||Δh| + |W||Δx|)_j. */
export function boundRnn(cell: RnnCell, input: Box, initial: Box, within: Enclosure | null): CellBounds {
  const gate = boundedGate(cell.gate, input, within);
  const image = (state: Box, x?: Box) => gateRange(x ? boundedGate(cell.gate, x, within) : gate, state, cell.clip).value;
  const [low, high] = activationRange(cell.gate.activation, -cell.clip, cell.clip).value;
  const candidate = Number.isFinite(low) && Number.isFinite(high) ? box(cell.hiddenSize, low, high) : unbounded(cell.hiddenSize);
  const state = reachableBox(initial, () => candidate, image, within);
  const range = gateRange(gate, state, cell.clip);
  // Slopes are monotone on each piece, so their signs at its ends decide.
  const monotone = cell.gate.activation.pieces.every((p) => p.slope(p.from) >= 0 && p.slope(p.to) >= 0);
  return {
    state,
    image,
    input,
    inputPaths: [{ matrix: cell.gate.input, share: range.slope }],
    ranges: { kind: 'rnn', slope: range.slope, monotone },
    gates: new Map([['output', range.value]]),
    recurrentNorms: (metric) => [metric.rowNorms(cell.gate.recurrent)],
    compare: (hidden, change, limits) =>
      preActivationChange(gate, hidden, change, limits?.[0]).map((v, j) => (v === 0 ? 0 : up(v * range.slope[j]!))),
  };
}
