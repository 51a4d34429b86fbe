import { formatNumber } from './format.js';
import type { AlongData, StabilityReport, StreamingReport } from './report.js';

/** Parts of a report in words, for the forms that people read. */

export const number = (value: number | null) => (value === null ? '–' : formatNumber(value));

export function rangeInWords(range: StabilityReport['inputRange']): string {
  const low = typeof range.lower === 'number' ? range.lower : Math.min(...range.lower);
  const high = typeof range.upper === 'number' ? range.upper : Math.max(...range.upper);
  const origin = {
    derived: 'derived from the graph',
    user: 'as you stated',
    samples: 'from your samples, with a margin',
    default: 'assumed',
  }[range.source];
  return `[${formatNumber(low)}, ${formatNumber(high)}] (${origin})`;
}

export function safeLengthInWords(report: StabilityReport): string {
  const safe = report.safeLength;
  if (!safe) return 'none';
  if (safe.basis === 'certified') {
    const range = report.inputRange.source === 'samples' ? 'the range of your samples' : 'the range';
    return `k = ${safe.k} (certified for every input of ${range})`;
  }
  return `k = ${safe.k} (measured: ${safe.sequences} sequences, quantile ${safe.quantile}, confidence ${safe.confidence})`;
}

/** λ is a proof only below 1; above, it is just the best bound that was found. */
export function lambdaInWords({ lambda, lambdaLowerBound }: Pick<StabilityReport, 'lambda' | 'lambdaLowerBound'>): string {
  const certified =
    lambda === null
      ? 'no bound'
      : lambda < 1
        ? `${formatNumber(lambda)} certified`
        : `none below 1 certified (best bound ${formatNumber(lambda)})`;
  return lambdaLowerBound === null ? certified : `${certified}; no fixed norm gives less than ${formatNumber(lambdaLowerBound)}`;
}

/** Where ε is measured: a streaming model without a proven bound is judged by what it gives out. */
export function errorPlace({ streaming, at }: StabilityReport): string {
  return at === 'output' || streaming?.errorOf === 'outputs' ? "the model's outputs" : 'the recurrent output';
}

export const stateKinds: Record<StreamingReport['states'][number]['kind'], string> = {
  hidden: 'hidden state',
  cell: 'cell state',
  packed: 'hidden and cell states in one tensor',
  cache: 'cache of past inputs',
  mixed: 'caches and recurrent states in one tensor',
  general: 'state',
};

/** One state: `state ← stateN [2, 1, 128]: hidden and cell states in one tensor of LSTM_1`. */
export function stateInWords(s: StreamingReport['states'][number]): string {
  const of = s.of.length === 0 ? '' : ` of ${s.of.length > 3 ? `${s.of.length} layers` : s.of.join(', ')}`;
  return `${s.input} ← ${s.output} [${s.shape.join(', ')}]: ${stateKinds[s.kind]}${of}`;
}

/** What is special about a streaming model, as a table of names and values. */
export function streamingRows({ frames, states, jacobian, cost }: StreamingReport): string[][] {
  const rows = [
    ['one frame', frames.map((f) => `${f.name} [${f.shape.join(', ')}]`).join(', ')],
    ...states.map((s, i) => [i === 0 ? 'carried state' : '', stateInWords(s)]),
  ];
  if (jacobian) {
    const { oneStep, product, frames: count } = jacobian;
    const measured = `measured at ${count} consecutive frames`;
    rows.push(['‖∂s′/∂s‖', `up to ${formatNumber(oneStep)} in one frame, ${formatNumber(product)} over all (${measured})`]);
  }
  if (cost) {
    rows.push([
      'without state',
      `k = ${cost.k}: ${formatNumber(cost.statelessMilliseconds)} ms for one answer (${cost.nodes} nodes, ${formatNumber(cost.bytes / 1000)} kB) ` +
        `where one call of the original takes ${formatNumber(cost.originalMilliseconds)} ms; saves ${formatNumber(cost.stateBytes / 1000)} kB of state for every stream`,
    ]);
  }
  return rows;
}

/** The window behind the measured value at one length of the curve. */
export function placeInWords({ curve }: StabilityReport, index: number): string {
  const sequence = curve.worstAt?.sequence[index];
  return sequence === undefined ? '–' : `sequence ${sequence}, step ${curve.worstAt!.position[index]}`;
}

/** Memory of a layer's units: the median, and the units that remember longest. */
export function unitMemoryInWords(memory: AlongData['layers'][number]['unitMemory'], longest: number): string {
  if (memory.length === 0) return '–';
  const order = memory.map((steps, unit) => ({ unit, steps: steps ?? Infinity })).sort((a, b) => b.steps - a.steps);
  const inSteps = (steps: number) => (steps === Infinity ? `over ${longest}` : String(steps));
  const slow = order.slice(0, 3).map(({ unit, steps }) => `unit ${unit} (${inSteps(steps)})`);
  const median = order[Math.floor(order.length / 2)]!.steps;
  if (median === Infinity) return `most units remember over ${longest} steps`;
  return `half of the units forget within ${median} steps; slowest: ${slow.join(', ')}`;
}

/** What was measured along the data, as rows of a name and a value. */
export function alongDataRows({ data, curve, streaming }: StabilityReport): string[][] {
  if (!data) return [];
  const { lyapunovExponent, lyapunovError, lambda, effectiveMemory, worstFound, layers } = data;
  const on = data.source === 'samples' ? 'your samples' : 'synthetic input, no guarantee';
  const step = streaming ? 'frame' : 'step';
  const memory = effectiveMemory === null ? 'no finite memory' : `effective memory ${formatNumber(effectiveMemory)} ${step}s`;
  const exponent =
    lyapunovExponent === null
      ? `Along ${on}, a small difference is forgotten within a few ${step}s`
      : `Along ${on}, a ${step} multiplies a small difference by ${formatNumber(lambda)} on average ` +
        `(Lyapunov exponent ${formatNumber(lyapunovExponent)} ± ${formatNumber(lyapunovError ?? 0)}): ${memory}`;
  const longest = curve.k[(curve.measured?.length ?? 1) - 1] ?? 0;
  /** One row for each layer, under one name. */
  const perLayer = (name: string, value: (layer: AlongData['layers'][number]) => string | null) =>
    layers
      .flatMap((layer) => {
        const text = value(layer);
        return text === null ? [] : [layers.length === 1 ? text : `${layer.name}: ${text}`];
      })
      .map((text, i) => [i === 0 ? name : '', text]);
  return [
    ['forgetting', exponent],
    ...perLayer('unit memory', (l) => unitMemoryInWords(l.unitMemory, longest)),
    ...perLayer(
      'one-step norm',
      ({ jacobianNorm: norm }) =>
        norm && `‖J‖₂ median ${formatNumber(norm.median)}, largest ${formatNumber(norm.largest)} of ${norm.steps} steps`,
    ),
    ...(worstFound
      ? [
          [
            'worst found',
            `error ${formatNumber(worstFound.error)} at k = ${worstFound.k} by search within the input range (worst of the data: ${formatNumber(worstFound.dataError)})`,
          ],
        ]
      : []),
  ];
}

/** The layers as a table, its header first. */
export function layerRows({ layers }: StabilityReport): string[][] {
  const rows = layers.map((layer) => {
    // Each with the length that it certifies alone, the smallest first.
    const holding = layer.certificates
      .filter((c) => c.holds)
      .sort((a, b) => (a.length ?? Infinity) - (b.length ?? Infinity) || Number(b.name === layer.certifiedBy))
      .map((c) => (c.length === null ? c.name : `${c.name} (k = ${c.length})`));
    const sizes = [String(layer.inputSize), String(layer.hiddenSize)];
    const bounds = [number(layer.lambda), number(layer.lambdaLowerBound)];
    return [layer.name, layer.cell, layer.direction, ...sizes, ...bounds, holding.join(', ') || 'none'];
  });
  return [['layer', 'cell', 'direction', 'input', 'hidden', 'λ bound', 'λ at least', 'certificates that hold'], ...rows];
}
