/** Exact binomial statements (Clopper & Pearson, "The use of confidence or fiducial limits…", Biometrika 26, 1934). */

/** P(X ≤ x) for X binomial with n trials of probability p, summed from logarithms. */
export function binomialCdf(x: number, n: number, p: number): number {
  if (p <= 0) return 1;
  if (p >= 1) return x >= n ? 1 : 0;
  let logTerm = n * Math.log1p(-p);
  let sum = Math.exp(logTerm);
  for (let i = 1; i <= x; i++) {
    logTerm += Math.log((n - i + 1) / i) + Math.log(p) - Math.log1p(-p);
    sum += Math.exp(logTerm);
  }
  return Math.min(1, sum);
}

/** Upper confidence limit of a probability after `failures` of `n` trials failed: P(X ≤ failures) = 1 − confidence there. */
export function clopperPearsonUpper(failures: number, n: number, confidence: number): number {
  if (failures >= n) return 1;
  let low = failures / n;
  let high = 1;
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (binomialCdf(failures, n, middle) > 1 - confidence) low = middle;
    else high = middle;
  }
  return high;
}

/** Fewest trials without a failure that support a quantile at a confidence. */
export function trialsNeeded(quantile: number, confidence: number): number {
  return Math.ceil(Math.log(1 - confidence) / Math.log(quantile) - 1e-9);
}
