import { CholeskyDecomposition, Matrix as DenseMatrix } from 'ml-matrix';
import { stateSize } from '../../src/network/cell.js';
import { step } from '../../src/network/forward.js';
import { linearize } from '../../src/network/linearization.js';
import type { CellCertificate, Metric } from '../../src/stability/certificates/certificate.js';
import type { Box } from '../../src/stability/interval.js';
import { drawnInside, pointIn, rounding, type Claim } from './certificateChecks.js';
import type { Random } from './random.js';

/** A vector pulled back through one step, to the state and to the input. */
interface Pulled {
  readonly state: Float64Array;
  readonly input: Float64Array;
}

/**
 * Gradient ascent against a contraction: over the state, the input and the direction of a pair, the ratio of its distances after and before a
 * step is driven up, and every pair that is tried along the way is checked against λ in the certificate's own norm.
 */

/** A norm with what an ascent needs of it. */
export interface Geometry {
  /** z with z · y = ‖y‖ and z · d ≤ ‖d‖ for every d. */
  gradient(y: Float64Array): Float64Array;
  /** The d with ‖d‖ = 1 for which u · d is largest. */
  steepest(u: Float64Array): Float64Array;
}

const squares = (v: Float64Array) => v.reduce((sum, x) => sum + x * x, 0);
const scaled = (v: Float64Array, factor: number) => v.map((x) => x * factor);
/** A vector over its length; zero where it has none. */
const unit = (v: Float64Array) => scaled(v, 1 / (Math.sqrt(squares(v)) || Infinity));

function maxGeometry({ reach }: Metric): Geometry {
  return {
    gradient(y) {
      let largest = 0;
      for (let j = 0; j < y.length; j++) if (Math.abs(y[j]! / reach[j]!) > Math.abs(y[largest]! / reach[largest]!)) largest = j;
      return y.map((v, j) => (j === largest ? Math.sign(v) / reach[j]! : 0));
    },
    steepest: (u) => u.map((v, j) => (v < 0 ? -reach[j]! : reach[j]!)),
  };
}

function euclideanGeometry(reach: Float64Array): Geometry {
  return {
    gradient: (y) => unit(y.map((v, j) => v / reach[j]!)).map((v, j) => v / reach[j]!),
    steepest: (u) => unit(u.map((v, j) => v * reach[j]!)).map((v, j) => v * reach[j]!),
  };
}

/** The larger of the norms of two halves. */
function pairGeometry({ reach }: Metric): Geometry {
  const n = reach.length / 2;
  const halves = [euclideanGeometry(reach.subarray(0, n)), euclideanGeometry(reach.subarray(n))] as const;
  const size = (v: Float64Array, at: number) => Math.sqrt(squares(v.map((x, j) => x / reach[at + j]!)));
  return {
    gradient(y) {
      const [h, c] = [y.subarray(0, n), y.subarray(n)];
      const first = size(h, 0) >= size(c, n);
      const none = new Float64Array(n);
      return Float64Array.of(...(first ? halves[0].gradient(h) : none), ...(first ? none : halves[1].gradient(c)));
    },
    steepest: (u) => Float64Array.of(...halves[0].steepest(u.subarray(0, n)), ...halves[1].steepest(u.subarray(n))),
  };
}

/** P of a quadratic norm √(dᵀPd), from its values alone. */
function quadraticGeometry({ norm, reach }: Metric): Geometry {
  const n = reach.length;
  // Entries relative to the scale of each element, so that neither P nor its factor is badly scaled.
  const square = (...units: readonly number[]) => {
    const d = new Float64Array(n);
    for (const j of units) d[j] = reach[j]!;
    return norm(d) ** 2;
  };
  const diagonal = Array.from({ length: n }, (_, j) => square(j));
  const p = new DenseMatrix(n, n);
  for (let r = 0; r < n; r++) {
    p.set(r, r, diagonal[r]!);
    for (let c = 0; c < r; c++) {
      const v = (square(r, c) - diagonal[r]! - diagonal[c]!) / 2;
      p.set(r, c, v);
      p.set(c, r, v);
    }
  }
  const factor = new CholeskyDecomposition(p);
  const column = (v: Float64Array) => DenseMatrix.columnVector(v);
  return {
    gradient(y) {
      const image = p.mmul(column(y.map((v, j) => v / reach[j]!))).getColumn(0);
      const size = norm(y) || Infinity;
      return Float64Array.from(image, (v, j) => v / reach[j]! / size);
    },
    steepest(u) {
      const d = Float64Array.from(factor.solve(column(u.map((v, j) => v * reach[j]!))).getColumn(0), (v, j) => v * reach[j]!);
      return scaled(d, 1 / (norm(d) || Infinity));
    },
  };
}

export function geometryOf({ report }: CellCertificate, metric: Metric): Geometry {
  switch (report.norm) {
    case 'max-norm':
    case 'weighted max-norm':
      return maxGeometry(metric);
    case 'larger of the scaled Euclidean norms of h and c':
      return pairGeometry(metric);
    case 'full quadratic norm of h':
      return quadraticGeometry(metric);
    default:
      return euclideanGeometry(metric.reach);
  }
}

/** Share of the set's radius that a pair is apart at most: pairs then see the Jacobian at one point of it. */
const near = 1e-3;

/** The set for which a contraction is claimed, shrunk a little so that there is room for a pair around every point. */
class Region {
  private readonly box: Box;
  readonly width: Float64Array;
  private readonly centre: Float64Array;

  constructor(private readonly claim: Claim) {
    const { state, within } = claim.bounds;
    // Where no bound was found, any state will do.
    const lower = state.lower.map((v, j) => Math.min(Math.max(v, -4), state.upper[j]!));
    const upper = state.upper.map((v, j) => Math.max(Math.min(v, 4), lower[j]!));
    this.box = { lower, upper };
    this.width = upper.map((v, j) => v - lower[j]!);
    this.centre = within ? within.centre : lower.map((v, j) => v + this.width[j]! / 2);
  }

  random(random: Random): Float64Array {
    return this.inside(pointIn(this.box, random));
  }

  inside(point: Float64Array): Float64Array {
    const { lower, upper } = this.box;
    const clamped = point.map((v, j) => Math.min(upper[j]!, Math.max(lower[j]!, v)));
    return drawnInside(this.claim.bounds, clamped).map((v, j) => this.centre[j]! + (1 - near) * (v - this.centre[j]!));
  }

  /** The direction, without elements that cannot differ, made as long as a pair point ± direction may be at a point inside. */
  step(direction: Float64Array): Float64Array {
    const { within } = this.claim.bounds;
    const room = this.centre.map((v, j) => 0.5 * near * Math.min(this.box.upper[j]! - v, v - this.box.lower[j]!));
    const allowed = direction.map((v, j) => (room[j]! > 1e-9 ? v : 0));
    let length = Infinity;
    for (const [j, v] of allowed.entries()) if (v !== 0) length = Math.min(length, room[j]! / Math.abs(v));
    if (within) {
      const size = Math.sqrt(squares(allowed.map((v, j) => v / within.scale[j]!)));
      length = Math.min(length, (0.5 * near * within.radius) / size);
    }
    return scaled(allowed, Number.isFinite(length) ? length : 0);
  }
}

export interface Attack {
  /** Largest ratio of distances, in units of λ: above 1 the claim is false. */
  readonly ratio: number;
  /** Pairs that were checked. */
  readonly attempts: number;
}

/** @param starts random places from which the ascent begins */
export function ascendContraction(
  claim: Claim,
  certificate: CellCertificate,
  random: Random,
  starts: number,
  rounds = 6,
): Attack {
  const { cell, input } = claim;
  const { lambda, metric } = certificate.contraction!;
  const geometry = geometryOf(certificate, metric);
  const region = new Region(claim);
  const size = stateSize(cell);
  const slack = metric.sizeOf(new Float64Array(size).fill(rounding(claim)));
  let ratio = 0;
  let attempts = 0;

  /** Changes of a pair around m along d after the step, over its length before; the pair is checked on the way. */
  const stretch = (m: Float64Array, x: Float64Array, d: Float64Array) => {
    const s = m.map((v, j) => v + d[j]!);
    const t = m.map((v, j) => v - d[j]!);
    const before = metric.norm(s.map((v, j) => v - t[j]!));
    if (!(before > 0)) return { rate: 0, image: new Float64Array(size) };
    const there = step(cell, x, t);
    const after = step(cell, x, s).map((v, j) => v - there[j]!);
    attempts++;
    const rate = (metric.norm(after) - slack) / before;
    ratio = Math.max(ratio, rate / lambda);
    return { rate, image: after };
  };
  const inRange = (x: Float64Array) => x.map((v, i) => Math.min(input.upper[i]!, Math.max(input.lower[i]!, v)));

  for (let start = 0; start < starts; start++) {
    let m = region.random(random);
    let x = pointIn(input, random);
    let d = region.step(geometry.steepest(random.vector(size)));
    let { rate, image } = stretch(m, x, d);
    const take = (nextM: Float64Array, nextX: Float64Array, nextD: Float64Array): boolean => {
      const next = stretch(nextM, nextX, nextD);
      if (!(next.rate > rate)) return false;
      [m, x, d] = [nextM, nextX, nextD];
      ({ rate, image } = next);
      return true;
    };
    for (let round = 0; round < rounds; round++) {
      // The direction: power iteration in the norm.
      for (let i = 0; i < 3; i++) {
        const z = geometry.gradient(image);
        if (!take(m, x, region.step(geometry.steepest(linearize(cell, x, m).pullback(z))))) break;
      }
      // The point: the gradient of z · J(m, x) d is a difference of two pulled back vectors.
      const z = geometry.gradient(image);
      const [s, t] = [m.map((v, j) => v + d[j]!), m.map((v, j) => v - d[j]!)];
      const [above, below] = [s, t].map((at) => {
        const byInput = new Float64Array(x.length);
        return { state: linearize(cell, x, at).pullback(z, byInput), input: byInput };
      }) as [Pulled, Pulled];
      const slope = above.state.map((v, j) => (v - below.state[j]!) * region.width[j]!);
      const inputWidth = input.upper.map((v, i) => v - input.lower[i]!);
      const inputSlope = above.input.map((v, i) => (v - below.input[i]!) * inputWidth[i]!);
      const largest = [...slope, ...inputSlope].reduce((a, b) => Math.max(a, Math.abs(b)), 0) || 1;
      for (const rateOfAscent of [1, 0.3, 0.1, 0.03, 0.01]) {
        const moves = [Math.sign, (v: number) => v / largest].map((direction) => [
          region.inside(m.map((v, j) => v + rateOfAscent * region.width[j]! * direction(slope[j]!))),
          inRange(x.map((v, i) => v + rateOfAscent * inputWidth[i]! * direction(inputSlope[i]!))),
        ]) as [Float64Array, Float64Array][];
        if (moves.some(([nextM, nextX]) => take(nextM, nextX, d))) break;
      }
    }
    // Coordinates to their ends, where a gradient of zero at a saddle shows nothing.
    for (let i = 0; i < Math.min(12, size + x.length); i++) {
      const j = random.int(0, size + x.length - 1);
      const end = random.pick([-1, 1]);
      if (j < size) {
        take(region.inside(m.map((v, k) => (k === j ? v + end * region.width[j]! : v))), x, d);
      } else {
        const at = j - size;
        take(m, inRange(x.map((v, k) => (k === at ? (end < 0 ? input.lower[at]! : input.upper[at]!) : v))), d);
      }
    }
  }
  return { ratio, attempts };
}
