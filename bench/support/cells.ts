import { activation, type ActivationName } from '../../src/network/activation.js';
import type { Cell, Gate } from '../../src/network/cell.js';
import { stateSize } from '../../src/network/cell.js';
import { matrix } from '../../src/network/matrix.js';
import { boundCell, type CellBounds } from '../../src/stability/cellBounds.js';
import { certificatesOf, type Certified } from '../../src/stability/certificates/family.js';
import { pointBox, type Box } from '../../src/stability/interval.js';
import { Random } from '../../test/support/random.js';

export type UniformKind = 'rnn' | 'lstm' | 'gru, reset after' | 'gru, reset before';

/** A cell with all weights uniform in ±scale/√units: scale 1 is the default initialisation of common libraries. */
export function uniformCell(kind: UniformKind, units: number, scale: number, inputs: number, seed = 1): Cell {
  const random = new Random(seed);
  const bound = scale / Math.sqrt(units);
  const gate = (name: ActivationName): Gate => ({
    input: matrix(units, inputs, random.vector(units * inputs, -bound, bound)),
    recurrent: matrix(units, units, random.vector(units * units, -bound, bound)),
    bias: random.vector(units, -bound, bound),
    activation: activation(name),
  });
  const base = { inputSize: inputs, hiddenSize: units, clip: Infinity };
  switch (kind) {
    case 'rnn':
      return { kind: 'rnn', ...base, gate: gate('Tanh') };
    case 'lstm':
      return {
        kind: 'lstm',
        ...base,
        input: gate('Sigmoid'),
        output: gate('Sigmoid'),
        forget: gate('Sigmoid'),
        candidate: gate('Tanh'),
        outputActivation: activation('Tanh'),
        peephole: null,
        coupled: false,
      };
    default:
      return {
        kind: 'gru',
        ...base,
        update: gate('Sigmoid'),
        reset: gate('Sigmoid'),
        candidate: gate('Tanh'),
        recurrentBias: kind === 'gru, reset after' ? random.vector(units, -bound, bound) : new Float64Array(units),
        linearBeforeReset: kind === 'gru, reset after',
      };
  }
}

export function finished<T>(run: Generator<unknown, T>): T {
  for (;;) {
    const next = run.next();
    if (next.done) return next.value;
  }
}

/** All certificates of a cell that starts in the zero state, and what they hold for. */
export function certified(cell: Cell, input: Box): Certified & { box: CellBounds } {
  const start = new Float64Array(stateSize(cell));
  const box = boundCell(cell, input, pointBox(start));
  return { box, ...finished(certificatesOf(cell, box, input, start)) };
}
