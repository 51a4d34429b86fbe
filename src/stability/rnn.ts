import type { RnnCell } from '../network/cell.js';
import type { CellBounds } from './cellBounds.js';
import { activationRange, box, type Box } from './interval.js';
import { boundedGate, gateRange, grownBox, preActivationChange, reachableBox } from './reachable.js';
import { up } from './rounding.js';

/** Vanilla RNN: h′ = ρ(R h + W x + b), so |Δh′_j| ≤ sup|ρ′| · (|R||Δh| + |W||Δx|)_j. */
export function boundRnn(cell: RnnCell, input: Box, initial: Box): CellBounds {
  const gate = boundedGate(cell.gate, input);
  const image = (state: Box) => gateRange(gate, state, cell.clip).value;
  const [low, high] = activationRange(cell.gate.activation, -cell.clip, cell.clip).value;
  const candidate = Number.isFinite(low) && Number.isFinite(high) ? box(cell.hiddenSize, low, high) : grownBox(initial, image);
  const state = reachableBox(initial, candidate, image);
  const range = gateRange(gate, state, cell.clip);
  return {
    state,
    gates: new Map([['output', range.value]]),
    compare: (hidden, change) => preActivationChange(gate, hidden, change).map((v, j) => (v === 0 ? 0 : up(v * range.slope[j]!))),
  };
}
