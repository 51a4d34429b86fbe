import { existsSync, readdirSync } from 'node:fs';
import { BadInputError } from '../src/errors.js';
import { openCheckpoint } from '../src/checkpoint/open.js';
import { nodeFiles } from '../src/cli/nodeFiles.js';
import { stateSize, type Cell } from '../src/network/cell.js';
import { step } from '../src/network/forward.js';
import type { CellBounds } from '../src/stability/cellBounds.js';
import type { Contraction, Metric } from '../src/stability/certificates/certificate.js';
import { comparisonName } from '../src/stability/certificates/comparison.js';
import { lengthOf } from '../src/stability/errorCurve.js';
import { box, magnitude, type Box } from '../src/stability/interval.js';
import { jacobianLowerBound } from '../src/stability/lowerBound.js';
import { boundLayer } from '../src/stability/networkBounds.js';
import { inputEffect } from '../src/stability/inputEffect.js';
import { spectralNormEstimate } from '../src/stability/spectralNorm.js';
import { checkpointPath } from '../test/support/checkpoints.js';
import { Random } from '../test/support/random.js';
import { runtime } from '../test/support/runtime.js';
import { certified, finished, uniformCell, type UniformKind } from './support/cells.js';

/**
 * How tight the certificates are: λ of each, a lower bound of every such λ, and the certified k beside the measured one, over cells with
 * random weights, the examples, and the published checkpoints where they are.
 */

interface Subject {
  readonly name: string;
  readonly cell: Cell;
  readonly input: Box;
}

const epsilon = 1e-3;
const maxLength = 4096;

function randomSubjects(): Subject[] {
  const of = (kind: UniformKind, units: number, scale: number, inputs = 8): Subject => ({
    name: `${kind} ${units}, ±${scale}/√${units}`,
    cell: uniformCell(kind, units, scale, inputs),
    input: box(inputs, -1, 1),
  });
  const gated: UniformKind[] = ['lstm', 'gru, reset after', 'gru, reset before'];
  return [
    ...[16, 64, 256, 512].map((units) => of('rnn', units, 1)),
    ...[16, 64, 256].flatMap((units) => [0.25, 0.5, 0.75, 0.85].map((scale) => of('rnn', units, scale))),
    ...gated.flatMap((kind) => [16, 64, 256].flatMap((units) => [0.1, 0.25, 0.5].map((scale) => of(kind, units, scale)))),
  ];
}

async function storedSubjects(): Promise<Subject[]> {
  const examples = readdirSync('examples').filter((f) => f.endsWith('.onnx'));
  const published = [['pose-detection-gru'], ['aircraft-pm'], ['dtln'], ['silero-vad'], ['gtcrn']].flatMap((parts) => {
    const folder = checkpointPath(...parts);
    return existsSync(folder) ? readdirSync(folder).flatMap((f) => (f.endsWith('.onnx') ? [`${folder}/${f}`] : [])) : [];
  });
  const subjects: Subject[] = [];
  for (const path of [...examples.map((f) => `examples/${f}`), ...published]) {
    const name = path.split('/').slice(-2).join('/');
    const set: Record<string, string> = path.includes('silero') ? { sr: '16000' } : {};
    try {
      const { network } = (await openCheckpoint(nodeFiles(path), { set, states: {} }, runtime)).onnx;
      const below = [];
      for (const layer of network.layers) {
        const bounds = boundLayer(layer, below, { lower: -1, upper: 1 });
        below.push(bounds);
        for (const [d, { cell }] of layer.directions.entries()) {
          const direction = layer.directions.length > 1 ? (d === 0 ? ', forward' : ', reverse') : '';
          subjects.push({ name: `${name} ${layer.name}${direction}`, cell, input: bounds.input });
        }
      }
    } catch (error) {
      if (!(error instanceof BadInputError)) throw error;
      console.log(`${name}: ${error.message}`);
    }
  }
  return subjects;
}

/** Largest error at every k between runs from states that inputs lead to and runs from zero, under held, switching and random inputs. */
function measuredLength(cell: Cell, input: Box, longest: number): number | null {
  const random = new Random(7);
  const corner = () => input.lower.map((v, i) => random.pick([v, input.upper[i]!]));
  const inside = () => input.lower.map((v, i) => random.uniform(v, input.upper[i]!));
  const worst = new Float64Array(longest + 1);
  for (let trial = 0; trial < 24; trial++) {
    const [past, future] = [corner(), corner()];
    let full: Float64Array = new Float64Array(stateSize(cell));
    for (let t = 0; t < 100; t++) full = step(cell, trial % 3 === 2 ? inside() : past, full);
    let short: Float64Array = new Float64Array(stateSize(cell));
    for (let k = 0; k <= longest; k++) {
      let error = 0;
      for (let j = 0; j < cell.hiddenSize; j++) error = Math.max(error, Math.abs(full[j]! - short[j]!));
      worst[k] = Math.max(worst[k]!, error);
      if (error < epsilon / 100) break;
      const x = trial % 3 === 1 ? corner() : trial % 3 === 2 ? inside() : future;
      full = step(cell, x, full);
      short = step(cell, x, short);
    }
  }
  let k = worst.length;
  while (k > 0 && worst[k - 1]! <= epsilon) k--;
  return k > longest ? null : k;
}

/** k ≥ log(L_f B / ((1−λ) ε)) / log(1/λ), the paper's formula (Proposition 3) with B = L_x B_x. */
function formulaLength(lambda: number, inputs: number): number {
  return Math.max(0, Math.ceil(Math.log(inputs / ((1 - lambda) * epsilon)) / Math.log(1 / lambda)));
}

/** L_x B_x in a certificate's norm, as small as it is known: how far the inputs of the range take the next state, and what Φ(0, 0) adds to that. */
function inputSize(cell: Cell, bounds: CellBounds, metric: Metric, input: Box): number {
  const zero = new Float64Array(stateSize(cell));
  const rest = step(cell, new Float64Array(cell.inputSize), zero);
  return inputEffect(bounds, metric)(magnitude(input)) + metric.sizeOf(rest.map(Math.abs));
}

/** The k of all contractions together, as the check's error curve has it. */
function* combinedLength(
  bounds: CellBounds,
  contractions: readonly Contraction[],
  hiddenSize: number,
): Generator<unknown, number | null> {
  const start = new Float64Array(bounds.state.lower.length);
  return contractions.length === 0 ? null : yield* lengthOf(bounds, contractions, start, hiddenSize, { epsilon, maxLength });
}

/** L_x B_x of the paper's own condition for a vanilla RNN with slopes up to one: the largest state after one step from zero, in the Euclidean norm. */
function paperInputs(cell: Cell, input: Box): number {
  if (cell.kind !== 'rnn') return NaN;
  const size = Math.sqrt(input.lower.reduce((sum, v, i) => sum + Math.max(Math.abs(v), Math.abs(input.upper[i]!)) ** 2, 0));
  return spectralNormEstimate(cell.gate.input) * size + Math.sqrt(cell.gate.bias.reduce((sum, v) => sum + v * v, 0));
}

function median(values: number[]): number {
  const sorted = values.sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return ((sorted[Math.floor(middle)] ?? NaN) + (sorted[Math.ceil(middle)] ?? NaN)) / 2;
}

export async function bench(args: readonly string[]): Promise<void> {
  const subjects = [...randomSubjects(), ...(await storedSubjects())].filter((s) => args.every((a) => s.name.includes(a)));
  const columns = ['miller-hardt', 'delta-iss', comparisonName, 'scaled-spectral-norm', 'numerical-radius', 'block-quadratic'];
  console.log(`| cell | ${columns.join(' | ')} | lower bound | certified k | formula, same λ | paper's own k | measured k |`);
  console.log(`|---|${columns.map(() => '---|').join('')}---|---|---|---|---|`);
  const againstFormula: number[] = [];
  const againstPaper: number[] = [];
  let worse = 0;
  for (const { name, cell, input } of subjects) {
    const { bounds, certificates } = certified(cell, input);
    const start = new Float64Array(stateSize(cell));
    const lengths = certificates.map(({ contraction, report }) => {
      // The comparison operator takes part in every length.
      const used = report.name === comparisonName ? [] : [contraction];
      return contraction && finished(lengthOf(bounds, used as Contraction[], start, cell.hiddenSize, { epsilon, maxLength }));
    });
    const found = lengths.flatMap((k, i) => (k === null ? [] : [{ k, certificate: certificates[i]! }]));
    const lambdaOf = (f: (typeof found)[number]) => f.certificate.report.lambda ?? 1;
    const best = found.reduce<(typeof found)[number] | null>(
      (a, b) => (a && (a.k < b.k || (a.k === b.k && lambdaOf(a) <= lambdaOf(b))) ? a : b),
      null,
    );
    const contractions = certificates.flatMap((c) => c.contraction ?? []);
    const together = finished(combinedLength(bounds, contractions, cell.hiddenSize));
    let formula: number | null = null;
    if (best?.certificate.contraction && together !== null) {
      const { lambda, metric } = best.certificate.contraction;
      const reach = metric.reach.subarray(0, cell.hiddenSize).reduce((a, b) => Math.max(a, b), 0);
      formula = formulaLength(lambda, inputSize(cell, bounds, metric, input) * reach);
      againstFormula.push(together / formula);
    }
    const paper = certificates.find((c) => c.report.name === 'miller-hardt')?.contraction;
    const paperLength = paper ? formulaLength(paper.lambda, paperInputs(cell, input)) : null;
    if (together !== null && paperLength) againstPaper.push(together / paperLength);
    const holding = certificates.filter((c) => c.report.holds && c.report.lambda !== null);
    const ours = Math.min(
      ...holding.filter((c) => !['miller-hardt', 'delta-iss'].includes(c.report.name)).map((c) => c.report.lambda!),
    );
    if (holding.some((c) => ['miller-hardt', 'delta-iss'].includes(c.report.name) && c.report.lambda! < ours)) worse++;
    const cells = columns.map((column) => {
      const c = certificates.find(({ report }) => report.name === column);
      if (!c) return '';
      const text = c.report.lambda === null ? (c.report.holds ? 'holds' : '–') : c.report.lambda.toFixed(3);
      return c === best?.certificate ? `**${text}**` : c.report.holds ? text : `(${text})`;
    });
    const lower = finished(jacobianLowerBound(cell, input, bounds));
    const measured = measuredLength(cell, input, 1024);
    const show = (k: number | null) => (k === null ? '–' : String(k));
    console.log(
      `| ${name} | ${cells.join(' | ')} | ${lower.toFixed(3)} | ${show(together)} | ${show(formula)} | ${show(paperLength)} | ${show(measured)} |`,
    );
  }
  console.log('\nIn brackets: does not hold. Bold: gives the smallest certified k.');
  console.log(
    `certified k / formula with the same λ and constants: median ${median(againstFormula).toFixed(2)}, largest ${Math.max(...againstFormula).toFixed(2)} (${againstFormula.length} cells)`,
  );
  console.log(
    `certified k / the paper's own condition and formula: median ${median(againstPaper).toFixed(2)} (${againstPaper.length} cells)`,
  );
  console.log(`cells where a published condition has the smaller λ: ${worse}`);
}
