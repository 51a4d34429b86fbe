import type { Cell } from '../../network/cell.js';
import { boundCell, type CellBounds } from '../cellBounds.js';
import { step } from '../../network/forward.js';
import { departure, farthest } from '../inputEffect.js';
import { contains, pointBox, type Box } from '../interval.js';
import { up } from '../rounding.js';
import { contractionCertificate, scaledEuclideanNorm, type CellCertificate } from './certificate.js';
import { enclosureOf, type Ellipsoid } from './ellipsoid.js';

/** Logarithms of scales, and an estimate of the λ that they certify. */
export interface Scales {
  readonly point: Float64Array;
  readonly lambda: number;
}

/** The search for the scales of a block certificate, over one set of gate ranges. A point holds the logarithms that are searched. */
export interface BlockProblem {
  readonly start: Float64Array;
  /** False where no finite λ below one exists. */
  readonly possible: boolean;
  /** The best scales found from `start`, and an estimate of their λ. */
  minimise(start: Float64Array, weights: number): Generator<number, Scales>;
  /** An estimate of λ for the norm of the point, whose multipliers are set anew for these ranges. */
  lambdaOf(point: Float64Array, guess: number): number;
  /** A proven λ for the norm of the point; at best `lambda`. Moves the point's multipliers. */
  prove(point: Float64Array, lambda: number): Generator<number, number>;
  /** The norm √(Σ (d_j / scale_j)²) of the point. */
  scaleOf(point: Float64Array): Float64Array;
}

/** A certificate, and the bounds that it holds for. */
export interface BlockResult {
  readonly certificate: CellCertificate;
  readonly bounds: CellBounds;
}

const name = 'block-quadratic';
const norm = (cell: Cell) => `scaled Euclidean norm of ${cell.kind === 'lstm' ? '(h, c)' : 'h'}`;

const certificateFor = (cell: Cell, lambda: number, scale: Float64Array | null): CellCertificate =>
  contractionCertificate(name, norm(cell), lambda, scale && scaledEuclideanNorm(scale));

/** How much further than needed the ellipsoid reaches, as room for λ to grow with it; and how often that is tried for one norm. */
const growth = 1.015;
const maxGrowth = 2;
/** The first ball, in units of the first step: any will do that is not much too large. */
const firstRadius = 2;
const maxRounds = 8;
/** Above this hidden size, what is certified on the box is not refined: a round costs seconds. */
const largestRefined = 512;

interface Candidate {
  readonly problem: BlockProblem;
  readonly point: Float64Array;
  readonly bounds: CellBounds;
  readonly ball: Ellipsoid;
  readonly lambda: number;
}

/**
 * An invariant ellipsoid and a contraction on it, together: if one step contracts by λ in a norm on the ball of radius ρ around s*, the start s₀ lies in the
 * ball, and δ = sup_x ‖Φ(s*, x) − s*‖ ≤ (1 − λ)ρ, then no trajectory from s₀ leaves the ball (‖Φ(s, x) − s*‖ ≤ λρ + δ ≤ ρ), and all that is claimed needs to
 * hold on the ball only. Gates move far less there than on a box. The ball is one of the norm that it certifies, so both are found in turn, from a small ball.
 * @param wanted the λ that is known already: a larger one is of no use
 */
function* onEllipsoid(
  cell: Cell,
  outer: CellBounds,
  input: Box,
  initial: Float64Array,
  problemOf: (bounds: CellBounds) => BlockProblem,
  wanted: number,
): Generator<number, BlockResult | null> {
  const weights = 4 * cell.hiddenSize ** 2;
  const centre = restingState(cell, input, initial);
  const away = farthest(pointBox(initial), centre);
  /** Radius that the ball must have at least, for a contraction by λ. */
  const needed = (lambda: number, scale: Float64Array, within: CellBounds) => {
    const norm = scaledEuclideanNorm(scale);
    return Math.max(up(departure(within, norm, centre) / (1 - lambda)) * (1 + 2 ** -50), norm.sizeOf(away));
  };
  // The image of a box knows nothing of the ellipsoid, which makes it the sharper one for small boxes.
  const bounded = (ball: Ellipsoid) => ({
    ...boundCell(cell, input, pointBox(initial), enclosureOf(ball, outer.state)),
    image: outer.image,
  });
  const unit: Float64Array = new Float64Array(initial.length).fill(1);
  let bounds = bounded({ centre, scale: unit, radius: needed(1 - 1 / firstRadius, unit, outer) });
  let point: Float64Array | null = null;
  let best: Candidate | null = null;
  for (let round = 0; round < maxRounds; round++) {
    const here = problemOf(bounds);
    if (!here.possible) break;
    // After the first round the scales are nearly right, and a few steps adapt them.
    const found: Scales = yield* here.minimise(point ?? here.start, point ? 4 * weights : weights);
    point = found.point;
    const scale = here.scaleOf(point);
    let { lambda } = found;
    let accepted = false;
    for (let i = 0; i < maxGrowth && lambda < 1 && !accepted; i++) {
      const ball = { centre, scale, radius: needed(lambda, scale, bounds) * growth };
      bounds = bounded(ball);
      const problem = problemOf(bounds);
      if (!problem.possible) return null;
      lambda = problem.lambdaOf(point, lambda);
      accepted = lambda < 1 && needed(lambda, scale, bounds) <= ball.radius * (1 - 1e-4);
      if (!accepted) continue;
      if (best && lambda > best.lambda * (1 - 2e-3)) round = maxRounds;
      if (!best || lambda < best.lambda) best = { problem, point: point.slice(), bounds, ball, lambda };
    }
    if (!(lambda < 1)) break;
    yield (0.5 * round) / maxRounds;
  }
  if (!best || best.lambda > wanted) return null;
  const proven = yield* best.problem.prove(best.point, best.lambda);
  const { ball } = best;
  const invariant =
    proven < 1 && needed(proven, ball.scale, best.bounds) <= ball.radius && contains(best.bounds.state, pointBox(centre));
  if (!invariant) return null;
  return {
    certificate: certificateFor(cell, proven, ball.scale),
    bounds: { ...best.bounds, within: ball },
  };
}

/** Where the cell settles under the middle of the input range: near the middle of all trajectories. */
function restingState(cell: Cell, input: Box, initial: Float64Array): Float64Array {
  const middle = input.lower.map((v, i) => v / 2 + input.upper[i]! / 2);
  let state = initial;
  for (let i = 0; i < 64; i++) state = step(cell, middle, state);
  return state.every(Number.isFinite) ? state : initial;
}

/**
 * @param initial the state before the first step; `input` where the caller supplies it
 * @yields the fraction done
 */
export function* blockCertificate(
  cell: Cell,
  bounds: CellBounds,
  input: Box,
  initial: Float64Array | 'input',
  problemOf: (bounds: CellBounds) => BlockProblem,
): Generator<number, BlockResult> {
  const problem = problemOf(bounds);
  const onBox = problem.possible ? yield* problem.minimise(problem.start, 4 * cell.hiddenSize ** 2) : null;
  const certified = onBox !== null && onBox.lambda < 1;
  if (initial !== 'input' && (!certified || cell.hiddenSize <= largestRefined)) {
    const inside = yield* onEllipsoid(cell, bounds, input, initial, problemOf, certified ? onBox.lambda : 1);
    if (inside) return inside;
  }
  if (!certified) return { certificate: certificateFor(cell, onBox?.lambda ?? Infinity, null), bounds };
  const scale = problem.scaleOf(onBox.point);
  return { certificate: certificateFor(cell, yield* problem.prove(onBox.point, onBox.lambda), scale), bounds };
}
