/** A condition on the multipliers of one unit: its left side Φ, which must not exceed 1, and −∂Φ/∂log N for each multiplier. */
export interface UnitCondition {
  value: number;
  readonly fall: Float64Array;
}

/**
 * Moves the logarithms of a unit's multipliers together until the condition holds with hardly any room. Φ falls as they grow.
 * @param logs of all units; those of this unit start at `at`
 * @param evaluate computes the condition for the unit's multipliers times exp(shift)
 * @returns false where no multipliers meet the condition
 */
export function meetCondition(
  logs: Float64Array,
  at: number,
  condition: UnitCondition,
  evaluate: (shift: number) => void,
): boolean {
  let [low, high, shift] = [-Infinity, Infinity, 0];
  for (let i = 0; i < 60; i++) {
    evaluate(shift);
    const { value, fall } = condition;
    if (value <= 1) high = Math.min(high, shift);
    else low = Math.max(low, shift);
    // A unit whose gates cannot move needs no multipliers.
    if (value <= 1 && (value > 1 - 1e-9 || shift < -60)) break;
    // Newton's method on log Φ, aimed a little inside; the bracket is halved where it leaves it.
    const slope = fall.reduce((a, b) => a + b, 0) / value;
    const newton = value === Infinity ? shift + 2 : shift + (Math.log(value) + 5e-10) / slope;
    if (newton > low && newton < high && Number.isFinite(newton)) shift = newton;
    else shift = low === -Infinity ? high - 4 : high === Infinity ? low + 4 : (low + high) / 2;
  }
  if (high === Infinity) return false;
  for (let k = 0; k < condition.fall.length; k++) logs[at + k] = logs[at + k]! + high;
  return true;
}
