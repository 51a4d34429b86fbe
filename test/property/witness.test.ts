import { describe, expect, it } from 'vitest';
import { finished, uniformCell, type UniformKind } from '../../bench/support/cells.js';
import { causalSystem, DrivenSystem, outputDistance, startOf, type CausalSystem } from '../../src/network/causalSystem.js';
import type { Cell } from '../../src/network/cell.js';
import { stateSize } from '../../src/network/cell.js';
import { runCell, step } from '../../src/network/forward.js';
import { linearize } from '../../src/network/linearization.js';
import { signalValue } from '../../src/network/signalValues.js';
import { box } from '../../src/stability/interval.js';
import { Budget } from '../../src/stability/witness/budget.js';
import { confirm, staysApart } from '../../src/stability/witness/confirmation.js';
import { isAttracting, measureOrbit, orbitNear, settledOrbit } from '../../src/stability/witness/periodicOrbit.js';
import { findWitness, type InputPattern, type Witness } from '../../src/stability/witness/witness.js';
import { largestModulus } from '../support/eigenvalues.js';
import { randomNetwork } from '../support/networks.js';
import { Random } from '../support/random.js';
import { gruLatch, linearUnit, lstmLatch, oneLayer, tanhUnit } from '../support/witnessCells.js';

/** Search for two histories that one input does not make forget, over cells whose long-term behaviour is known. */

const threshold = 2e-3;
const systemOf = (cell: Cell, reverse = false) => causalSystem(oneLayer(cell, reverse), reverse, () => true)!;
const search = (system: CausalSystem, low: number, high: number, steps = 3000): Witness | null =>
  finished(findWitness(system, { range: box(system.inputSize, low, high), threshold, budget: 1e9, steps, seed: 7 }));

/** The steps of a pattern, as a user would feed them. */
const unrolled = ({ pattern, steps }: InputPattern) => Array.from({ length: steps }, (_, t) => pattern[t % pattern.length]!);

/** What the equations alone make of a witness: h of the cell after every common step, for both histories. */
function replayed(cell: Cell, { prefixes, common }: Witness): number[] {
  const [a, b] = prefixes.map((prefix) =>
    runCell(cell, [...unrolled(prefix), ...unrolled(common)])
      .slice(prefix.steps - 1)
      .map((s) => s.subarray(0, cell.hiddenSize)),
  );
  return a!.map((h, t) => h.reduce((m, v, j) => Math.max(m, Math.abs(v - b![t]![j]!)), 0));
}

function expectReplays(cell: Cell, witness: Witness): void {
  const distances = replayed(cell, witness);
  expect(distances).toHaveLength(witness.distances.length);
  distances.forEach((d, t) => {
    if (Math.abs(d - witness.distances[t]!) > 1e-9) throw new Error(`${d} ≠ ${witness.distances[t]} at ${t}`);
  });
}

describe('two attracting states', () => {
  it.each<[string, Cell]>([
    ['tanh(2 h + x)', tanhUnit(2)],
    ['an LSTM latch', lstmLatch],
    ['a GRU latch', gruLatch],
  ])('%s', (_, cell) => {
    const witness = search(systemOf(cell), -1, 1)!;
    expect(witness.kind).toBe('two-orbits');
    expect(witness.orbits.every((o) => o !== null && isAttracting(o))).toBe(true);
    expect(witness.separator!.multiplier - witness.separator!.error).toBeGreaterThan(1);
    expect(witness.distances.at(-1)).toBeGreaterThan(0.5);
    expectReplays(cell, witness);
  });

  it('have the fixed points and multipliers of tanh(2 h), by their equation', () => {
    // h = tanh 2h by bisection; the slope is 2 (1 − h²), at the repelling point 0 it is 2.
    let [low, high] = [0.5, 1];
    for (let i = 0; i < 60; i++) {
      const middle = (low + high) / 2;
      if (Math.tanh(2 * middle) > middle) low = middle;
      else high = middle;
    }
    const witness = search(systemOf(tanhUnit(2)), -1, 1)!;
    expect(witness.common.pattern).toEqual([Float64Array.of(0)]);
    expect(witness.distances.at(-1)).toBeCloseTo(2 * low, 9);
    for (const orbit of witness.orbits) expect(orbit!.multiplier).toBeCloseTo(2 * (1 - low * low), 9);
    expect(witness.separator!.states[0]![0]).toBeCloseTo(0, 9);
    expect(witness.separator!.multiplier).toBeCloseTo(2, 9);
  });

  it('are out of reach of a range that only drives one way, and of an input that is too weak', () => {
    expect(search(systemOf(tanhUnit(2)), 1, 2)).toBeNull();
    expect(search(systemOf(tanhUnit(1.2)), 0, 0)).toBeNull();
  });

  it('are found for a layer that reads the sequence backwards', () => {
    expect(search(systemOf(tanhUnit(2), true), -1, 1)?.kind).toBe('two-orbits');
  });
});

describe('other motions that do not forget', () => {
  it('a period of two, whose phase remembers the past', () => {
    const cell = tanhUnit(-2);
    const system = systemOf(cell);
    const witness = search(system, -1, 1)!;
    expect(witness.orbits.map((o) => o!.states.length)).toEqual([2, 2]);
    expectReplays(cell, witness);
    // Under a constant input both histories are on one orbit, half a period apart.
    const reached = (h: number) => ({ prefix: { pattern: [Float64Array.of(h)], steps: 1 }, state: Float64Array.of(h) });
    const candidate = { starts: [reached(0.9), reached(-0.9)] as const, common: [Float64Array.of(0)], moved: 2 };
    const options = { range: box(1, -1, 1), threshold, budget: 1e9, steps: 400, seed: 1 };
    const confirmed = finished(confirm(system, candidate, options, new Budget(1e9)))!;
    expect(confirmed.kind).toBe('two-phases');
    expect(confirmed.orbits.every((o) => isAttracting(o!))).toBe(true);
  });

  it('an integrator, which neither attracts nor repels', () => {
    const witness = search(systemOf(linearUnit(1)), -1, 1)!;
    expect(witness.orbits.some((o) => o && isAttracting(o))).toBe(false);
    expectReplays(linearUnit(1), witness);
  });

  it('chaos: no orbit is claimed', () => {
    // Random tanh networks with weights of standard deviation g/√n are chaotic for g well above 1 (Sompolinsky et al., 1988).
    const cell = uniformCell('rnn', 40, 6, 2, 3);
    const witness = search(systemOf(cell), -0.1, 0.1)!;
    expect(witness.kind).toBe('unsettled');
    expect(witness.orbits).toContain(null);
    expect(witness.separator).toBeNull();
  });
});

describe('no witness', () => {
  it.each<UniformKind>(['rnn', 'lstm', 'gru, reset after', 'gru, reset before'])('is found for contracting cells: %s', (kind) => {
    for (let seed = 1; seed <= 6; seed++) expect(search(systemOf(uniformCell(kind, 8, 0.5, 2, seed)), -2, 2)).toBeNull();
  });

  it('is made of slow forgetting', () => {
    // After a thousand steps the difference is still 37 % of what it was, and falling.
    expect(search(systemOf(linearUnit(0.999)), -1, 1)).toBeNull();
    expect(search(systemOf(tanhUnit(0.9995, 0.1)), -1, 1)).toBeNull();
    // Here it hardly falls while one looks, but both creep towards one fixed point.
    expect(search(systemOf(linearUnit(1 - 1e-6)), -1, 1)).toBeNull();
  });

  it('is made of states that grow without bound', () => {
    expect(search(systemOf(linearUnit(4)), -1, 1)).toBeNull();
  });

  it('comes of distances that fall, or that fall below the threshold', () => {
    const of = (f: (t: number) => number) =>
      staysApart(
        Float64Array.from({ length: 1001 }, (_, t) => f(t)),
        0.01,
      );
    expect(of(() => 1)).toBe(true);
    expect(of((t) => Math.abs(Math.sin(t)))).toBe(true);
    expect(of((t) => 1 + 50 / (1 + t))).toBe(true);
    expect(of((t) => 0.999 ** t)).toBe(false);
    expect(of((t) => (t < 995 ? 0.005 : 1))).toBe(false);
    expect(of((t) => 10 ** t)).toBe(false);
  });
});

describe('periodic orbits', () => {
  it('have the multiplier of the product of dense Jacobians', () => {
    const random = new Random(11);
    for (const kind of ['rnn', 'lstm', 'gru, reset after', 'gru, reset before'] as const) {
      const cell = uniformCell(kind, 6, 2, 2, 5);
      const inputs = Array.from({ length: 3 }, () => random.vector(2));
      const states = inputs.map(() => random.vector(stateSize(cell), -0.9, 0.9));
      const orbit = measureOrbit(systemOf(cell), states, inputs);
      const jacobians = states.map((s, i) => linearize(cell, inputs[i]!, s).jacobian());
      const modulus = largestModulus(jacobians);
      expect(Math.abs(orbit.multiplier - modulus)).toBeLessThan(1e-9 + orbit.error);
    }
  });

  it('are found by Newton’s method from nearby, repelling ones too', () => {
    const near = (start: number, x: number) =>
      finished(orbitNear(systemOf(tanhUnit(2)), Float64Array.of(start), [Float64Array.of(x)], () => 0));
    expect(near(0.05, 0)!.states[0]![0]).toBeCloseTo(0, 12);
    const attracting = near(0.9, 0.1)!;
    const [h] = attracting.states[0]!;
    expect(step(tanhUnit(2), Float64Array.of(0.1), Float64Array.of(h!))[0]).toBeCloseTo(h!, 12);
    expect(isAttracting(attracting)).toBe(true);
  });

  it('are not claimed where a trajectory still moves', () => {
    const system = systemOf(linearUnit(1));
    const moving = Array.from({ length: 65 }, (_, t) => Float64Array.of(0.1 * t));
    expect(settledOrbit(system, moving, [Float64Array.of(0.1)])).toBeNull();
  });
});

describe('a causal system', () => {
  it('computes what its layers compute one by one, in stacks of every kind', () => {
    let compared = 0;
    for (let seed = 0; seed < 60; seed++) {
      const random = new Random(900 + seed);
      const network = randomNetwork(random.int(1, 3), 'forward', random);
      const system = causalSystem(network, false, () => true)!;
      const pattern = Array.from({ length: random.int(1, 3) }, () => random.vector(system.inputSize));
      const driven = new DrivenSystem(system, pattern);
      let state = startOf(system);
      const outputs: Float64Array[][] = [];
      // Layer by layer, over the whole sequence.
      const inputs = Array.from({ length: 12 }, (_, t) => pattern[t % pattern.length]!);
      for (const { input, directions } of network.layers) {
        const { cell, initialState } = directions[0]!;
        const reads = inputs.map((x, t) =>
          signalValue(
            input,
            () => x,
            (layer) => outputs[layer]![t]!,
          ),
        );
        const start = initialState === 'input' ? new Float64Array(stateSize(cell)) : initialState;
        outputs.push(runCell(cell, reads, start).map((s) => s.subarray(0, cell.hiddenSize)));
      }
      for (let t = 0; t < inputs.length; t++) {
        state = driven.step(t, state);
        for (const { layer, cell, offset } of system.components) {
          const h = state.subarray(offset, offset + cell.hiddenSize);
          h.forEach((v, j) => expect(v).toBeCloseTo(outputs[layer]![t]![j]!, 10));
          compared++;
        }
      }
      expect(outputDistance(system, state, state)).toBe(0);
    }
    expect(compared).toBeGreaterThan(1000);
  });

  it('leaves out what reads both directions of a layer below, and what reads an unknown operator', () => {
    const random = new Random(5);
    const bidirectional = randomNetwork(2, 'bidirectional', random);
    expect(causalSystem(bidirectional, false, () => true)!.components.map((c) => c.layer)).toEqual([0]);
    expect(causalSystem(bidirectional, true, () => true)!.components.map((c) => c.direction)).toEqual([1]);
    const network = oneLayer(tanhUnit(2));
    const unknown = { ...network.layers[0]!.input, operator: { type: 'Erf', node: 'erf' } };
    const behind = { layers: [{ ...network.layers[0]!, input: unknown as (typeof network.layers)[0]['input'] }] };
    expect(causalSystem(behind, false, () => true)).toBeNull();
    expect(causalSystem(network, true, () => true)).toBeNull();
  });
});
