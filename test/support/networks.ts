import { activation } from '../../src/network/activation.js';
import { stateSize, type Cell } from '../../src/network/cell.js';
import { matrix } from '../../src/network/matrix.js';
import type { LayerDirection, RecurrentLayer, RecurrentNetwork } from '../../src/network/network.js';
import type { Signal } from '../../src/network/signal.js';
import type { SourceSequence } from '../../src/measurement/sequences.js';
import type { Contraction } from '../../src/stability/certificates/certificate.js';
import { certificatesOf } from '../../src/stability/certificates/family.js';
import type { Box } from '../../src/stability/interval.js';
import { boundLayer, outputBox, type InputRange, type LayerBounds } from '../../src/stability/networkBounds.js';
import { finished } from '../../bench/support/cells.js';
import { randomGru, randomLstm, randomRnn, shrunk, type CellShape } from './cells.js';
import type { Random } from './random.js';

/** Random networks of one or more layers that read the source `x`. */

function randomCell(shape: CellShape, random: Random): Cell {
  const cell = random.pick([
    () => randomRnn(random.pick(['Tanh', 'Sigmoid', 'Relu', 'Softsign']), shape, random),
    () => randomLstm(random.pick(['default', 'peephole', 'coupled']), shape, random),
    () => randomGru(random.pick(['reset after', 'reset before']), shape, random),
  ])();
  return shrunk(cell, random.pick([0.2, 0.5, 0.8]));
}

/** What a layer reads: the layer below, plainly or through what exporters put between layers, or beside the source. */
function between(below: Signal, source: Signal, random: Random): Signal {
  const size = below.size;
  const through: (() => Signal)[] = [
    () => below,
    () => ({ kind: 'concat', size: size + source.size, parts: [below, source] }),
    () => ({ kind: 'linear', size: 2, from: below, matrix: matrix(2, size, random.vector(2 * size)) }),
    () => ({ kind: 'activation', size, from: below, activation: activation(random.pick(['Relu', 'Tanh', 'Sigmoid'])) }),
    () => ({ kind: 'scale', size, from: below, factors: random.vector(size, -1.5, 1.5) }),
    () => ({ kind: 'sum', size, parts: [below, { kind: 'constant', size, value: random.vector(size) }] }),
    () => ({ kind: 'select', size, from: below, index: Int32Array.from({ length: size }, (_, i) => size - 1 - i) }),
  ];
  return random.pick(through)();
}

export type Directions = 'forward' | 'reverse' | 'bidirectional' | 'mixed';

export function randomNetwork(layers: number, directions: Directions, random: Random): RecurrentNetwork {
  const features = random.int(1, 3);
  const source: Signal = { kind: 'source', size: features, name: 'x', operator: null, range: null, recurrent: false };
  const made: RecurrentLayer[] = [];
  for (let l = 0; l < layers; l++) {
    const below = made[l - 1];
    const input: Signal = below
      ? between({ kind: 'layer', size: below.hiddenSize * below.directions.length, layer: l - 1 }, source, random)
      : source;
    const shape = { hidden: random.int(1, 4), input: input.size, scale: random.logarithmic(0.3, 2) };
    const first = randomCell(shape, random);
    const direction = (reverse: boolean): LayerDirection => {
      // Both directions of a layer are of one kind.
      let cell = first;
      while (reverse && (cell === first || cell.kind !== first.kind)) cell = randomCell(shape, random);
      return {
        cell,
        reverse,
        initialState: random.pick(['input', new Float64Array(stateSize(cell)), random.vector(stateSize(cell), -0.8, 0.8)]),
      };
    };
    const of = directions === 'mixed' ? random.pick(['forward', 'reverse', 'bidirectional'] as const) : directions;
    made.push({
      name: `layer ${l}`,
      kind: first.kind,
      inputSize: shape.input,
      hiddenSize: shape.hidden,
      directions: of === 'bidirectional' ? [direction(false), direction(true)] : [direction(of === 'reverse')],
      input,
    });
  }
  return { layers: made };
}

/** Noise, jumps between the ends of the range, and ends that are held: each kind shows another side of forgetting. */
export function randomSequences({ lower, upper }: Box, steps: number, random: Random): SourceSequence[] {
  const ends = () => lower.map((low, i) => random.pick([low, upper[i]!]));
  const makers = [() => lower.map((low, i) => random.uniform(low, upper[i]!)), ends];
  const sequences: SourceSequence[] = makers.map((make) => new Map([['x', Array.from({ length: steps }, make)]]));
  for (let i = 0; i < 4; i++) {
    const [before, after] = [ends(), ends()];
    const turn = random.int(1, steps - 1);
    sequences.push(new Map([['x', Array.from({ length: steps }, (_, t) => (t < turn ? before : after))]]));
  }
  return sequences;
}

/** Everything that is proven about every layer, from below. */
export function certifyNetwork(
  network: RecurrentNetwork,
  range: InputRange,
): { bounds: LayerBounds[]; contractions: Contraction[][][] } {
  const bounds: LayerBounds[] = [];
  const contractions: Contraction[][][] = [];
  for (const layer of network.layers) {
    const box = boundLayer(layer, bounds, range);
    const certified = layer.directions.map(({ cell, initialState }, d) =>
      finished(certificatesOf(cell, box.directions[d]!, box.input, initialState)),
    );
    const directions = certified.map((c) => c.bounds);
    bounds.push({ ...box, directions, output: outputBox(layer, directions) });
    contractions.push(certified.map((c) => c.certificates.flatMap(({ contraction }) => contraction ?? [])));
  }
  return { bounds, contractions };
}
