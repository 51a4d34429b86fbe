import type { LstmCell } from '../../network/cell.js';
import { magnitude, type Box } from '../interval.js';
import { magnitudeRange, type LstmRanges } from '../lstm.js';
import { up } from '../rounding.js';
import type { UnitCondition } from './unitMultipliers.js';
import { logisticSquares, logisticTanhSquares, mixtureSquares, type LogisticMaximum } from './gateMaxima.js';

/** Condition (1) of the block certificate of an LSTM (blockLstm.ts), one unit at a time. */

/** Gates in the order of the multipliers: forget, input, candidate, output. */
export const lstmGates = 4;

type Interval = readonly [number, number];

/** What condition (1) knows of one unit. */
export interface LstmUnit {
  readonly coupled: boolean;
  /** Gates and slopes are maximised at one point: logistic gates, tanh, no peepholes. Else the suprema below take their place. */
  readonly joint: boolean;
  readonly forget: Interval;
  readonly input: Interval;
  readonly output: Interval;
  /** Squares of the smallest and largest |g| and |tanh c|. */
  readonly candidate: Interval;
  readonly squashed: Interval;
  /** sup |c| and sup |g − c|. */
  readonly cell: number;
  readonly distance: number;
  /** sup |∂c′/∂c|, and sup of the entries of v and of α and β, each on its own. */
  readonly forgetting: number;
  readonly forgetChange: number;
  readonly inputChange: number;
  readonly candidateChange: number;
  readonly alpha: number;
  readonly beta: number;
}

export function lstmUnits(cell: LstmCell, r: LstmRanges): LstmUnit[] {
  const range = (b: Box, j: number): Interval => [b.lower[j]!, b.upper[j]!];
  const squares = (b: Box, j: number): Interval => {
    const [low, high] = magnitudeRange(b, j);
    return [low * low * (1 - 2 ** -50), up(high * high)];
  };
  const forget = magnitude(r.forget.value);
  const input = magnitude(r.input.value);
  const candidate = magnitude(r.candidate.value);
  const output = magnitude(r.output.value);
  const squashed = magnitude(r.squashed.value);
  const { peephole: p, coupled } = cell;
  const joint = r.standard && !p;
  return Array.from({ length: cell.hiddenSize }, (_, j) => {
    const [tLow, tHigh] = squares(r.squashed.value, j);
    const forgetChange = coupled ? 0 : up(r.cellSize[j]! * r.forget.slope[j]!);
    const inputChange = up((coupled ? r.distance[j]! : candidate[j]!) * r.input.slope[j]!);
    const beta = up(squashed[j]! * r.output.slope[j]!);
    return {
      coupled,
      joint,
      forget: range(r.forget.value, j),
      input: range(r.input.value, j),
      output: range(r.output.value, j),
      candidate: squares(r.candidate.value, j),
      squashed: [tLow, tHigh],
      cell: r.cellSize[j]!,
      distance: r.distance[j]!,
      // Peepholes let Δc move the gates, and Δc′ the output gate.
      forgetting: p ? up(forget[j]! + forgetChange * Math.abs(p.forget[j]!) + inputChange * Math.abs(p.input[j]!)) : forget[j]!,
      forgetChange,
      inputChange,
      candidateChange: up(input[j]! * r.candidate.slope[j]!),
      alpha: joint
        ? up(output[j]! * (1 - tLow))
        : up(output[j]! * r.squashed.slope[j]! + (p ? beta * Math.abs(p.output[j]!) : 0)),
      beta,
    };
  });
}

/** Its left side Φ for p_h = 1, and how Φ falls with the logarithms of the multipliers and moves with p_c and λ. */
export interface LstmCondition extends UnitCondition {
  /** ∂Φ/∂p_c at N_c = λ² p_c. */
  cellSlope: number;
  /** −∂Φ/∂log λ². */
  lambdaFall: number;
}

export function newCondition(): LstmCondition {
  return { value: 0, fall: new Float64Array(lstmGates), cellSlope: 0, lambdaFall: 0 };
}

/** Squares of the entries of v where s is largest, and the maximum in turn: reused, because this is called for every unit and step. */
const v = new Float64Array(lstmGates);
const maximum: LogisticMaximum = { value: 0, y: 0, t: 0 };

/** The maximum of s = Σ_k v_k²/N_k over the gates of a unit. */
function largestS(u: LstmUnit, nc: number, n: Float64Array): number {
  const [nf, ni, ng] = [n[0]!, n[1]!, n[2]!];
  if (u.joint && u.coupled) {
    // c′ = (1−i) c + i g: its slope along i is (g − c) i′, and 1 − i takes the place of the forget gate.
    const slope = u.candidateChange / u.input[1];
    const { value, y } = mixtureSquares(
      1 - u.input[1],
      1 - u.input[0],
      1 / nc,
      (slope * slope) / ng,
      (u.distance * u.distance) / ni,
      maximum,
    );
    v[0] = y * y;
    v[1] = 0;
    v[2] = (u.distance * y * (1 - y)) ** 2;
    v[3] = ((1 - y) * slope) ** 2;
    return value;
  }
  if (u.joint) {
    const forget = logisticSquares(u.forget[0], u.forget[1], 1 / nc, (u.cell * u.cell) / nf, maximum);
    const forgotten = forget.value;
    v[0] = forget.y * forget.y;
    v[1] = (u.cell * forget.y * (1 - forget.y)) ** 2;
    const { value, y, t } = logisticTanhSquares(u.input[0], u.input[1], u.candidate[0], u.candidate[1], 1 / ng, 1 / ni, maximum);
    v[2] = t * (y * (1 - y)) ** 2;
    v[3] = (y * (1 - t)) ** 2;
    return forgotten + value;
  }
  v[0] = u.forgetting ** 2;
  v[1] = u.forgetChange ** 2;
  v[2] = u.inputChange ** 2;
  v[3] = u.candidateChange ** 2;
  return v[0]! / nc + v[1]! / nf + v[2]! / ni + v[3]! / ng;
}

/** Covers the rounding of the few operations on non-negative numbers below. */
const slack = 1 + 1e-13;

/**
 * @param pc weight of the cell state, for p_h = 1
 * @param n N_f, N_i, N_g, N_o, for p_h = 1
 */
export function evaluateLstmCondition(u: LstmUnit, pc: number, lambda: number, n: Float64Array, into: LstmCondition): void {
  const nc = lambda * lambda * pc;
  const s = largestS(u, nc, n) * slack;
  const rest = 1 - pc * s * slack;
  if (!(rest > 1e-12)) {
    into.value = Infinity;
    return;
  }
  // 1 − p_c s cancels; its error is relative to one.
  const a = (s / rest) * (1 + 1e-15 / rest);
  const no = n[3]!;
  let [alpha, beta] = [u.alpha, u.beta];
  if (u.joint) {
    const { value, y, t } = logisticTanhSquares(u.output[0], u.output[1], u.squashed[0], u.squashed[1], a, 1 / no, maximum);
    alpha = y * (1 - t);
    beta = Math.sqrt(t) * y * (1 - y);
    into.value = value * slack;
  } else {
    into.value = (alpha * alpha * a + (beta * beta) / no) * slack;
  }
  const perS = (alpha / rest) ** 2;
  for (let k = 0; k < 3; k++) into.fall[k] = (perS * v[k + 1]!) / n[k]!;
  into.fall[3] = (beta * beta) / no;
  into.lambdaFall = (perS * v[0]!) / nc;
  into.cellSlope = perS * s * s - into.lambdaFall / pc;
}
