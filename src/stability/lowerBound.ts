import { multiplications, type Cell } from '../network/cell.js';
import { step } from '../network/forward.js';
import type { StepPoint } from '../network/linearization.js';
import { seededRandom } from '../samples/random.js';
import type { CellBounds } from './cellBounds.js';
import type { Box } from './interval.js';
import type { DominantEigenvalue, Effort } from './krylov.js';
import { dominantOf, jacobianProduct, modulusGradient, type JacobianProduct } from './orbitJacobian.js';

/**
 * A lower bound of every one-step contraction constant in a fixed norm over a box of states and inputs. In any norm
 * ‖J_p … J_1‖ ≤ λᵖ for Jacobians at any points of the box, and a spectral radius is at most a norm, so
 * λ ≥ ρ(J_p … J_1)^(1/p): the lower half of the joint spectral radius theorem (Rota, Strang, 1960; Jungers, "The Joint
 * Spectral Radius", section 1.2). The points need not follow one another, since a certificate over the box holds at each.
 */

/** Multiplications that the search may cost: about a second. A product costs some more than its multiplications. */
const defaultBudget = 5e8;
const overheadPerProduct = 1000;
const longestProduct = 3;
const randomSeeds = 60;
const ascents = 6;
const ascentSteps = 24;
/** Points that trajectories settle in come from at most this many steps. */
const settlingSteps = 100;
/** A wider range, of a cell state that hardly leaks, is as good as unbounded. */
const widest = 1e6;
const searching: Effort = { steps: 8, restarts: 1, tolerance: 0 };
const provingSteps = 64;
const provingBudget = 2e8;

type ReachableStates = Pick<CellBounds, 'state' | 'within'>;

interface Candidate {
  readonly points: readonly StepPoint[];
  readonly product: JacobianProduct;
  readonly eigenvalue: DominantEigenvalue;
}

const rate = ({ points, eigenvalue }: Candidate) => eigenvalue.modulus ** (1 / points.length);
/** What is left of it if the eigenvalue errs as far as it may. */
const sure = ({ points, eigenvalue }: Candidate) => Math.max(0, eigenvalue.modulus - eigenvalue.error) ** (1 / points.length);

class Search {
  #spent = 0;
  readonly #perProduct: number;

  constructor(
    private readonly cell: Cell,
    private readonly input: Box,
    private readonly states: ReachableStates,
    private readonly random: () => number,
    private readonly budget: number,
  ) {
    this.#perProduct = multiplications(cell) + overheadPerProduct;
  }

  get share(): number {
    return Math.min(1, this.#spent / this.budget);
  }

  /** As many restarts as the budget of a proof allows. */
  proof(length: number): Effort {
    const restarts = Math.floor(provingBudget / (2 * provingSteps * length * this.#perProduct));
    return { steps: provingSteps, restarts: Math.max(1, Math.min(6, restarts)), tolerance: 1e-9 };
  }

  /** Charges products with all parameters. */
  #charge(products: number): void {
    this.#spent += products * this.#perProduct;
  }

  /** States that inputs held at the middle and the ends of their range lead to, the middle of the box, and random points of it. */
  seeds(): StepPoint[] {
    const at = (box: Box, share: (i: number) => number) =>
      box.lower.map((low, i) => {
        const range = box.upper[i]! - low;
        // Of an unbounded range nothing is known but that trajectories start near zero.
        return range <= widest ? low + share(i) * range : Math.min(Math.max(0, low), box.upper[i]!);
      });
    const { state } = this.states;
    const middle: StepPoint = { state: this.#reachable(at(state, () => 0.5)), input: at(this.input, () => 0.5) };
    const steps = Math.max(4, Math.min(settlingSteps, Math.floor((0.1 * this.budget) / (3 * this.#perProduct))));
    const settled = [0.5, 0, 1].map((share): StepPoint => {
      const input = at(this.input, () => share);
      let end = middle.state;
      for (let i = 0; i < steps; i++) end = step(this.cell, input, end);
      this.#charge(steps);
      return { state: end.every(Number.isFinite) ? this.#reachable(end) : middle.state, input };
    });
    const anywhere = () => this.random();
    const random = Array.from({ length: randomSeeds }, () => ({
      state: this.#reachable(at(state, anywhere)),
      input: at(this.input, anywhere),
    }));
    return [middle, ...settled, ...random];
  }

  /** The point of the box next to it, drawn towards the ellipsoid's centre until it is in there too. */
  #reachable(state: Float64Array): Float64Array {
    const { state: box, within } = this.states;
    const inBox = this.#within(box, state);
    if (!within) return inBox;
    const { centre, scale, radius } = within;
    const size = Math.sqrt(inBox.reduce((sum, v, j) => sum + ((v - centre[j]!) / scale[j]!) ** 2, 0));
    const share = (radius / size) * (1 - 1e-12);
    return share < 1
      ? this.#within(
          box,
          inBox.map((v, j) => centre[j]! + share * (v - centre[j]!)),
        )
      : inBox;
  }

  #within(box: Box, v: Float64Array): Float64Array {
    return v.map((x, i) => Math.min(box.upper[i]!, Math.max(box.lower[i]!, x)));
  }

  evaluate(points: readonly StepPoint[], effort: Effort, warm?: Candidate): Candidate | null {
    const product = jacobianProduct(this.cell, points);
    const eigenvalue = dominantOf(product, this.states.state.lower.length, effort, warm?.eigenvalue);
    this.#charge(points.length * (1 + 2 * (effort.steps + 2) * effort.restarts));
    return eigenvalue && { points, product, eigenvalue };
  }

  /** Moves all points uphill within the box while that pays and the budget lasts. */
  *ascend(start: Candidate): Generator<number, Candidate> {
    let best = start;
    let size = 0.25;
    for (let i = 0; i < ascentSteps && size > 1e-3 && this.share < 1 && best.eigenvalue.modulus > 0; i++) {
      const gradient = modulusGradient(this.cell, best.points, best.product, best.eigenvalue);
      this.#charge(best.points.length * 8);
      const points = best.points.map((point, p) => ({
        state: this.#reachable(this.#moved(this.states.state, point.state, gradient[p]!.state, size)),
        input: this.#moved(this.input, point.input, gradient[p]!.input, size),
      }));
      const next = this.evaluate(points, searching, best);
      if (next && next.eigenvalue.modulus > best.eigenvalue.modulus) {
        best = next;
        size = Math.min(1, 1.6 * size);
      } else size /= 3;
      yield this.share;
    }
    return best;
  }

  /** A step uphill: typical coordinates move by the share `size` of their range, none by more. Unbounded ones stay. */
  #moved(box: Box, v: Float64Array, gradient: Float64Array, size: number): Float64Array {
    const range = box.upper.map((high, i) => (high - box.lower[i]! <= widest ? high - box.lower[i]! : 0));
    const gain = gradient.map((g, i) => (Number.isFinite(g) ? g * range[i]! : 0));
    const typical = Math.sqrt(gain.reduce((sum, g) => sum + g * g, 0) / gain.length);
    if (!(typical > 0)) return v;
    return this.#within(
      box,
      v.map((x, i) => x + size * range[i]! * Math.max(-1, Math.min(1, gain[i]! / typical))),
    );
  }
}

/**
 * @param input box of the inputs [I]
 * @param states where the contraction constants that are bounded hold: the reachable ones
 * @param budget multiplications that the search may cost, besides the proof of what it finds
 * @yields the share done
 */
export function* jacobianLowerBound(
  cell: Cell,
  input: Box,
  states: ReachableStates,
  budget = defaultBudget,
): Generator<number, number> {
  const random = seededRandom(20180525);
  const search = new Search(cell, input, states, random, budget);
  const found: Candidate[] = [];
  const starts: Candidate[] = [];
  for (const seed of search.seeds()) {
    if (starts.length > 0 && search.share > 0.3) break;
    const candidate = search.evaluate([seed], searching);
    if (candidate) starts.push(candidate);
    yield search.share;
  }
  starts.sort((a, b) => rate(b) - rate(a));
  for (const start of starts.slice(0, ascents)) {
    if (search.share >= 0.6 && found.length > 0) break;
    found.push(yield* search.ascend(start));
  }
  found.sort((a, b) => rate(b) - rate(a));
  const one = found[0];
  if (!one) return 0;
  for (let p = 2; p <= longestProduct && search.share < 0.7; p++) {
    // All factors alike are a saddle of the product, so the others start elsewhere.
    for (let attempt = 0; attempt < 2 && search.share < 0.7; attempt++) {
      const others = Array.from({ length: p - 1 }, () => starts[Math.floor(random() * starts.length)]!.points[0]!);
      const start = search.evaluate([one.points[0]!, ...others], searching);
      if (start) found.push(yield* search.ascend(start));
    }
  }
  // A search of few products can mistake a strongly non-normal Jacobian's eigenvalues: what is sure counts first.
  const surest = found.sort((a, b) => sure(b) - sure(a) || rate(b) - rate(a)).slice(0, 2);
  let bound = sure(surest[0]!);
  for (const candidate of surest) {
    const proven = search.evaluate(candidate.points, search.proof(candidate.points.length), candidate);
    if (proven) bound = Math.max(bound, sure(proven));
    yield 1;
  }
  // The root and the products round.
  return bound * (1 - 1e-12);
}
