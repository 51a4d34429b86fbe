import { componentInput, distance, stateOf, type CausalSystem } from '../../network/causalSystem.js';
import { stateSize } from '../../network/cell.js';
import { step } from '../../network/forward.js';
import type { StepPoint } from '../../network/linearization.js';
import { norm, solveKrylov, type Effort } from '../krylov.js';
import { dominantOf, jacobianProduct } from '../orbitJacobian.js';

/** Periodic orbits of a system under a periodic input. */
export interface PeriodicOrbit {
  /** One state for each step of the period; entry i is the state before input i is read. */
  readonly states: readonly Float64Array[];
  /** ρ(J_p … J_1): below 1 the orbit attracts what is near it, above 1 it repels in some direction. */
  readonly multiplier: number;
  /** How far the multiplier may be from the true one. */
  readonly error: number;
}

/** True when the multiplier is below 1 by more than its error. */
export function isAttracting({ multiplier, error }: PeriodicOrbit): boolean {
  return multiplier + error < 1;
}

const effort: Effort = { steps: 64, restarts: 3, tolerance: 1e-8 };
const longestPeriod = 64;

/** What every component reads and where it stands at each step of an orbit, [component][step]. */
function pointsOf(system: CausalSystem, states: readonly Float64Array[], inputs: readonly Float64Array[]): StepPoint[][] {
  return system.components.map((component) =>
    states.map((state, i) => ({
      state: stateOf(component, state),
      input: componentInput(system, component, inputs[i % inputs.length]!, states[(i + 1) % states.length]!),
    })),
  );
}

/**
 * The multiplier of an orbit. The Jacobian of a system is block triangular, since a component reads only those before it, so
 * its eigenvalues are those of the components by themselves.
 */
export function measureOrbit(
  system: CausalSystem,
  states: readonly Float64Array[],
  inputs: readonly Float64Array[],
): PeriodicOrbit {
  let multiplier = 0;
  let error = 0;
  for (const [index, points] of pointsOf(system, states, inputs).entries()) {
    const { cell } = system.components[index]!;
    const eigenvalue = dominantOf(jacobianProduct(cell, points), stateSize(cell), effort);
    if (eigenvalue && eigenvalue.modulus >= multiplier) ({ modulus: multiplier, error } = eigenvalue);
  }
  return { states, multiplier, error };
}

/**
 * The orbit that a trajectory has settled on.
 * @param last its last states, after the last of which input 0 is read
 * @returns null where it has not settled on a period that `longestPeriod` allows
 */
export function settledOrbit(
  system: CausalSystem,
  last: readonly Float64Array[],
  inputs: readonly Float64Array[],
): PeriodicOrbit | null {
  const end = last[last.length - 1]!;
  const scale = 1 + end.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
  for (let period = inputs.length; period <= Math.min(longestPeriod, last.length - 1); period += inputs.length) {
    if (distance(end, last[last.length - 1 - period]!) > 1e-9 * scale) continue;
    return measureOrbit(system, last.slice(-1 - period, -1), inputs);
  }
  return null;
}

/** How many of a trajectory's last states `settledOrbit` looks at. */
export const settlingWindow = longestPeriod + 1;

const newtonSteps = 10;
const krylovSteps = 96;

/**
 * The periodic orbit near a state, attracting or not, by Newton's method on Φᵖ(s) − s. Component by component from below: each
 * reads only what is settled by then.
 * @param start before input 0 is read
 * @param inputs one for each step of the period
 * @param share what to yield after every iteration
 */
export function* orbitNear(
  system: CausalSystem,
  start: Float64Array,
  inputs: readonly Float64Array[],
  share: () => number,
): Generator<number, PeriodicOrbit | null> {
  const states = inputs.map(() => new Float64Array(system.stateSize));
  for (const component of system.components) {
    const { cell, offset } = component;
    const reads = inputs.map((input, i) => componentInput(system, component, input, states[(i + 1) % states.length]!));
    let state: Float64Array = Float64Array.from(stateOf(component, start));
    for (let iteration = 0; ; iteration++) {
      const points: StepPoint[] = [];
      let next = state;
      for (const input of reads) {
        points.push({ state: next, input });
        next = step(cell, input, next);
      }
      const gap = next.map((v, j) => v - state[j]!);
      if (!gap.every(Number.isFinite)) return null;
      if (norm(gap) <= 1e-12 * (1 + norm(state))) {
        points.forEach((point, i) => states[i]!.set(point.state, offset));
        break;
      }
      if (iteration === newtonSteps) return null;
      const product = jacobianProduct(cell, points);
      const change = solveKrylov((v) => product.apply(v).map((u, j) => v[j]! - u), gap, krylovSteps, 1e-6);
      if (!change) return null;
      state = state.map((v, j) => v + change[j]!);
      yield share();
    }
  }
  return measureOrbit(system, states, inputs);
}
