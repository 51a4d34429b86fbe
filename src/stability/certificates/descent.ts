/** What a descent minimises, with its gradient at the same point. */
export interface Slope {
  readonly value: number;
  readonly gradient: Float64Array;
}

const [firstDecay, secondDecay] = [0.9, 0.99];
const [firstRate, lastRate] = [0.2, 0.004];

/**
 * Where to begin: from no scales at all, or part of the way to weights in which the operator of absolute values contracts best, which is
 * far for nearly triangular matrices.
 * @param weights in the unit of the state, as logs −log D
 */
export function bestStart(weights: Float64Array, valueAt: (logs: Float64Array) => number): Float64Array {
  const starts = [0, 0.25, 0.5, 1].map((share) => weights.map((w) => -share * Math.log(w)));
  // Scales beyond the range of numbers give no value.
  const values = starts.map((logs) => valueAt(logs.slice())).map((v) => (Number.isNaN(v) ? Infinity : v));
  return starts[values.indexOf(Math.min(...values))] ?? starts[0]!;
}

/**
 * Minimises a nearly convex, nearly smooth function of logarithms of scales by Adam with a falling rate (Kingma & Ba, arXiv:1412.6980).
 * Every point is as good a certificate as its value, so any number of steps will do.
 * @param weights numbers in the cell's recurrent matrices, which say what a step costs
 * @param evaluate may move the point along directions that change nothing
 * @yields the fraction done
 */
export function* descend(
  start: Float64Array,
  weights: number,
  evaluate: (point: Float64Array) => Slope,
): Generator<number, Float64Array> {
  const steps = Math.max(6, Math.min(100, Math.floor(3e7 / weights)));
  const point = Float64Array.from(start);
  const first = new Float64Array(point.length);
  const second = new Float64Array(point.length);
  let best = Float64Array.from(point);
  let smallest = Infinity;
  for (let step = 1; step <= steps; step++) {
    const { value, gradient } = evaluate(point);
    if (value < smallest) [smallest, best] = [value, Float64Array.from(point)];
    // Nothing is left to gain where the value is the logarithm of zero.
    if (!gradient.every(Number.isFinite)) break;
    const rate = lastRate + (firstRate - lastRate) * 0.5 * (1 + Math.cos((Math.PI * step) / steps));
    const [unbias1, unbias2] = [1 / (1 - firstDecay ** step), 1 / (1 - secondDecay ** step)];
    for (let i = 0; i < point.length; i++) {
      const g = gradient[i]!;
      first[i] = firstDecay * first[i]! + (1 - firstDecay) * g;
      second[i] = secondDecay * second[i]! + (1 - secondDecay) * g * g;
      point[i] = point[i]! - (rate * first[i]! * unbias1) / (Math.sqrt(second[i]! * unbias2) + 1e-12);
    }
    yield step / steps;
  }
  return best;
}
