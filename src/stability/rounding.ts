/**
 * Directed rounding without control of the processor's mode. Float64 arithmetic on sums of n products has a relative error
 * of at most γ_n = n·u/(1 − n·u), u = 2⁻⁵³, of the sum of absolute values (Higham, "Accuracy and Stability of Numerical
 * Algorithms", section 3.1), and next to zero, where products underflow, an absolute one of at most half the smallest number
 * for each of them (section 2.1). Every certified quantity is widened by at least that much.
 */
const unit = 2 ** -53;

/** Bound on the relative error of a sum of n products, with room for a few operations more. */
export function gamma(n: number): number {
  const nu = (n + 8) * unit;
  return nu / (1 - nu);
}

/** Bound on what `operations` products and quotients lose to underflow, with room for a few more. */
export function underflow(operations: number): number {
  return (operations + 8) * Number.MIN_VALUE;
}

/** An upper bound for a non-negative number that was computed with `operations` roundings. */
export function up(value: number, operations = 8): number {
  return value * (1 + 2 * gamma(operations)) + underflow(operations);
}

/** Error of Math.exp, Math.tanh and the like: engines promise less than one unit in the last place; four are allowed for. */
export const functionError = 8 * unit;
