import { describe, expect, it } from 'vitest';
import { isFromPage } from '../../src/report/messages.js';
import { markdownReport } from '../../src/report/markdown.js';
import { proposedLength } from '../../src/report/proposedLength.js';
import type { StabilityReport, WitnessReport } from '../../src/report/report.js';
import { unitMemoryInWords } from '../../src/report/words.js';
import { textReport } from '../../src/report/text.js';
import { witnessInWords } from '../../src/report/witnessWords.js';
import { siblingSegments } from '../../src/checkpoint/siblingPath.js';
import { curveData, hasCurve, lastDrawn, tableRows, valuesAt } from '../../webview/curveData.js';
import { distanceData, distanceRows, distanceSummary, witnessFacts } from '../../webview/distanceData.js';
import { bytes, lambda, number, percent, range } from '../../webview/format.js';
import { initialState, restoredState } from '../../webview/state.js';
import { bandText, curveSummary, dataFacts, measuredOn, promiseAt, safeLengthBasis, worstWindow } from '../../webview/words.js';

/** What the report page says, apart from the page. */

const lengths = (n: number) => Array.from({ length: n }, (_, k) => k);
const falling = (n: number, rate: number) => lengths(n).map((k) => rate ** k);

function report(change: Partial<StabilityReport> = {}): StabilityReport {
  return {
    schemaVersion: 1,
    file: 'net.onnx',
    format: 'onnx',
    model: { producer: 'pytorch', opset: 17, bytes: 2152, parameters: 288 },
    verdict: 'stable',
    summary: 'Certified stable.',
    epsilon: 1e-3,
    inputRange: { lower: -1, upper: 1, source: 'user' },
    safeLength: { k: 10, basis: 'certified' },
    lambda: 0.5,
    lambdaLowerBound: 0.4,
    curve: {
      k: lengths(101),
      bound: falling(101, 0.5),
      measured: falling(51, 0.3),
      measuredOn: { source: 'samples', sequences: 20, windows: 400 },
    },
    layers: [],
    diagnostics: [],
    ...change,
  };
}

const unbounded = report({
  verdict: 'stable-on-data',
  lambda: null,
  safeLength: { k: 6, basis: 'samples', confidence: 0.95, quantile: 0.99, windows: 960, sequences: 480 },
  curve: { ...report().curve, bound: null },
});

describe('numbers', () => {
  it('have three digits, and powers of ten where those are shorter', () => {
    expect([0, 0.75443, 27, 0.001, 9.87e-4, 1e-8, -1, 123456, null].map(number)).toEqual([
      '0',
      '0.754',
      '27',
      '0.001',
      '9.9 × 10⁻⁴',
      '10⁻⁸',
      '−1',
      '1.2 × 10⁵',
      '–',
    ]);
  });

  it('never carry a contraction constant across 1', () => {
    expect([0.99999, 1.00001, 1, 0.5, null].map(lambda)).toEqual(['0.999…', '1.000…', '1.000', '0.500', '–']);
  });

  it('have units', () => {
    expect([512, 2152, 191_800, 3.2e9].map(bytes)).toEqual(['512 bytes', '2.2 KB', '192 KB', '3.2 GB']);
    expect([0.95, 0.999].map(percent)).toEqual(['95 %', '99.9 %']);
    expect(range([-1, 0], [1, 255])).toBe('within [−1, 255], one range per input');
  });
});

describe('the curve', () => {
  it('spans whole decades around epsilon and says what it clips', () => {
    const data = curveData(report());
    expect([data.floor, data.top]).toEqual([1e-8, 1]);
    expect([data.clippedBelow, data.clippedAbove]).toEqual([true, false]);
  });

  it('has an axis even where every error is zero or there is none', () => {
    for (const curve of [
      { k: [0, 1], bound: [0, 0], measured: null, measuredOn: null },
      { k: [0, 1], bound: null, measured: null, measuredOn: null },
    ]) {
      const data = curveData(report({ curve }));
      expect(data.floor).toBeLessThan(1e-3);
      expect(data.top).toBeGreaterThan(1e-3);
      expect(hasCurve(report({ curve }))).toBe(curve.bound !== null);
    }
  });

  it('is drawn until all lines have reached the floor', () => {
    expect(lastDrawn(curveData(report()))).toBe(27);
  });

  it('answers for a skipped length with the next shorter one', () => {
    const data = curveData(report({ curve: { k: [0, 4, 8], bound: [1, 0.1, 0.01], measured: [1, 0.05], measuredOn: null } }));
    expect(valuesAt(data, 7)).toEqual({ k: 4, bound: 0.1, measured: 0.05 });
    expect(valuesAt(data, 9)).toEqual({ k: 8, bound: 0.01, measured: null });
  });

  it('has a table of round lengths with the chosen one', () => {
    const data = curveData(report());
    expect(tableRows(data, 17).map((index) => data.k[index])).toEqual([0, 1, 2, 3, 5, 7, 10, 15, 17, 20, 30, 50, 70, 100]);
  });
});

describe('the words', () => {
  it('name the basis of a safe length', () => {
    expect(safeLengthBasis(report())).toBe('Certified: holds for every input in the range.');
    expect(safeLengthBasis(unbounded)).toBe(
      'Measured on 480 sequences (960 windows): with 95 % confidence, at least 99 % of sequences stay within ε.',
    );
    expect(safeLengthBasis(report({ safeLength: null }))).toMatch(/^No length is known/);
  });

  it('promise no more than is known', () => {
    expect(promiseAt(report(), { bound: 1e-4 }, 12)).toBe('certified to stay within ε');
    expect(promiseAt(report(), { bound: 0.1 }, 3)).toBe('with no guarantee at this length');
    expect(promiseAt(unbounded, { bound: null }, 6)).toBe('measured to stay within ε on your samples');
    expect(promiseAt(unbounded, { bound: null }, 5)).toBe('with no guarantee at this length');
  });

  it('call synthetic input what it is', () => {
    const curve = { ...report().curve, measuredOn: { source: 'synthetic' as const, sequences: 24, windows: 48 } };
    expect(measuredOn(report({ curve }))).toMatch(/synthetic input, which promises nothing/);
    expect(curveSummary(report({ curve }))).toContain('measured, synthetic');
  });
});

describe('what was measured', () => {
  const measured = report({
    at: 'output',
    curve: {
      k: [0, 1, 2],
      bound: null,
      measured: [1, 0.1, 1e-4],
      band: { share: 0.99, median: [0.5, 0.01, 1e-5], quantile: [1, 0.05, 1e-4] },
      worstAt: { sequence: [3, 1200, 0], position: [9, 8, 7] },
      measuredOn: { source: 'synthetic', sequences: 24, windows: 48 },
    },
    data: {
      source: 'synthetic',
      lyapunovExponent: -0.105,
      lyapunovError: 0.002,
      lambda: 0.9,
      effectiveMemory: 10,
      worstFound: { k: 2, error: 0.2, dataError: 0.1, startedFrom: 5 },
      layers: [{ name: 'lstm', lyapunovExponent: -0.105, lyapunovError: 0.002, jacobianNorm: null, unitMemory: [1, null, 2] }],
    },
  });

  it('names the place of the error, the band and the worst window', () => {
    expect(curveSummary(measured)).toContain('Error of the model’s own outputs');
    expect(bandText(measured)).toContain('99 % of them');
    expect(worstWindow(measured, 1)).toBe('sequence 1,200, step 8');
    expect([bandText(report()), worstWindow(report(), 1)]).toEqual([undefined, undefined]);
  });

  it('tells the facts along the data, and that synthetic input promises nothing', () => {
    const facts = dataFacts(measured);
    expect(facts.map(([name, value]) => [name, value])).toEqual([
      ['Lyapunov exponent', '−0.105 ± 0.002'],
      ['λ along the data', '0.9'],
      ['Effective memory', '10 steps'],
      ['Worst found at k = 2', '0.2'],
    ]);
    expect(facts[0]![2]).toContain('synthetic input, which promises nothing');
    expect(dataFacts(report())).toEqual([]);
    const diverging = report({ data: { ...measured.data!, effectiveMemory: null, lambda: 1.1 } });
    expect(dataFacts(diverging)[2]).toEqual(['Effective memory', 'none', 'Differences do not shrink.']);
  });

  it('is in the text report, unit by unit', () => {
    const text = textReport(measured);
    expect(text).toContain("0.001 at the model's outputs");
    const unwrapped = text.replace(/\n +/g, ' ');
    expect(unwrapped).toContain('half of the units forget within 2 steps; slowest: unit 1 (over 2), unit 2 (2), unit 0 (1)');
    expect(unitMemoryInWords([null, null, 3], 256)).toBe('most units remember over 256 steps');
    expect(unwrapped).toContain('error 0.2 at k = 2 by search within the input range (worst of the data: 0.1)');
    expect(text).toMatch(/k +error bound +measured \(synthetic\) +99 % of sequences +half of them +worst window/);
    expect(text).toContain('sequence 1200, step 8');
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100);
    expect(markdownReport(measured)).toContain('synthetic input, no guarantee');
  });
});

describe('a witness', () => {
  const orbit = (multiplier: number) => ({ period: 1, multiplier, error: 1e-9 });
  const prefix = (value: number) => ({ steps: 48, pattern: { x: [[value]] } });
  const witness: WitnessReport = {
    kind: 'two-orbits',
    of: 'model',
    layers: ['gru'],
    reverse: false,
    prefixes: [prefix(-1), prefix(1)],
    common: { steps: 1000, pattern: { x: [[0], [0.5]] } },
    distance: 1.73,
    threshold: 2e-3,
    distances: { step: [0, 500, 1000], distance: [2, 1.7, 1.73] },
    persistent: true,
    orbits: [orbit(0.8), orbit(0.95)],
    separator: orbit(1.4),
    replay: { steps: 3000, distance: 1.725, staysApart: true, distances: { step: [0, 1500, 3000], distance: [2, 1.7, 1.725] } },
  };
  const merged = { ...witness.replay!, staysApart: false, distance: 0, distances: { step: [0, 3000], distance: [2, 0] } };

  it('is drawn over all of its steps, on whole decades around the distances and the threshold', () => {
    const data = distanceData(witness);
    expect([data.floor, data.top, data.lastStep]).toEqual([1e-3, 10, 3000]);
    expect(distanceData({ ...witness, replay: null }).lastStep).toBe(1000);
    // Outputs that merge must not stretch the axis down to zero.
    const nearly = { ...merged, distances: { step: [0, 2000, 3000], distance: [2, 1e-12, 0] } };
    expect(distanceData({ ...witness, replay: nearly }).floor).toBeCloseTo(1e-5, 9);
  });

  it('has a table that ends where each run does', () => {
    const rows = distanceRows(distanceData(witness));
    expect(rows).toHaveLength(11);
    expect([rows[0], rows[3], rows[10]]).toEqual([
      [0, 2, 2],
      [900, 1.7, 2],
      [3000, null, 1.725],
    ]);
  });

  it('tells its facts, first the distance on the file itself', () => {
    expect(witnessFacts(witness).map(([name, value]) => [name, value])).toEqual([
      ['Apart at the end', '1.73'],
      ['Motion', 'Two attracting orbits'],
      ['Multiplier, first', '0.8'],
      ['Multiplier, second', '0.95'],
      ['Multiplier between', '1.4'],
      ['Histories', '48 steps'],
    ]);
    expect(witnessFacts(witness)[0]![2]).toBe(
      'After 3,000 common steps, in ONNX Runtime on the file; outputs of the recurrence.',
    );
    expect(distanceSummary(witness)).toContain('In ONNX Runtime it is 2 at first and 1.73 after 3,000 steps.');
  });

  it('claims no more than was seen', () => {
    const unsettled = { ...witness, kind: 'unsettled' as const, persistent: false, orbits: [null, null], separator: null };
    expect(witnessInWords(unsettled)).toContain('their motion has not settled, but the distance does not fall');
    expect(witnessInWords(unsettled)).not.toContain('for ever');
    expect(witnessFacts(unsettled).map(([name]) => name)).toEqual(['Apart at the end', 'Motion', 'Histories']);
    expect(witnessInWords({ ...witness, replay: merged })).toContain('the outputs come together: this is seen in float64 only');
    expect(witnessInWords({ ...witness, replay: merged })).toContain('any length up to 1000');
    expect(witnessInWords({ ...witness, replay: null })).toContain('could not be replayed');
    const layer = witnessInWords({ ...witness, of: 'layer', replay: null });
    expect(layer).toContain('By itself gru does not forget');
    expect(layer).toContain('The model may never feed it so.');
    expect(witnessInWords({ ...witness, of: 'layer', replay: null, persistent: false })).not.toContain('No certificate');
  });
});

describe('the proposed length', () => {
  it('is the safe one, else one measured below epsilon from there on, else the longest', () => {
    expect(proposedLength(report())).toEqual({ length: 10, basis: 'safe' });
    expect(proposedLength(report({ safeLength: null }))).toEqual({ length: 6, basis: 'measured' });
    const curve = { ...report().curve, k: [0, 1, 2], measured: [1e-4, 1, 1], bound: null };
    expect(proposedLength(report({ safeLength: null, curve }))).toEqual({ length: 2, basis: 'longest' });
  });

  it('keeps at least one step', () => {
    expect(proposedLength(report({ safeLength: { k: 0, basis: 'certified' } })).length).toBe(1);
  });
});

describe('what comes from outside', () => {
  it('messages of the page are checked', () => {
    const good = [{ type: 'ready' }, { type: 'useSampleRange' }, { type: 'export', length: 3 }, { type: 'reveal', path: 'x' }];
    expect(good.every(isFromPage)).toBe(true);
    const bad = [
      null,
      'ready',
      {},
      { type: 'run' },
      { type: 'export' },
      { type: 'export', length: 0 },
      { type: 'export', length: 1.5 },
    ];
    expect(bad.some(isFromPage)).toBe(false);
  });

  it('a stored view state of another version is no trouble', () => {
    expect([undefined, null, 7, { k: 'x', openLayers: 3 }].map(restoredState)).toEqual(Array(4).fill(initialState));
    expect(restoredState({ k: 5, curveTableOpen: true, openLayers: ['a', 1] })).toEqual({
      k: 5,
      curveTableOpen: true,
      openLayers: ['a'],
    });
  });

  it('sibling paths stay in the folder', () => {
    expect(siblingSegments('weights/./a.bin')).toEqual(['weights', 'a.bin']);
    for (const path of ['../a', 'x/../../a', '/etc/passwd', 'C:\\a', '\\\\host\\a', '..\\a', '', 'a\0b']) {
      expect(() => siblingSegments(path), path).toThrow(/folder/);
    }
  });
});
