import { takesAlpha, takesBeta } from '../../network/activation.js';
import type { FoundCell } from './cellPatterns.js';
import type { GraphBuilder } from './graphBuilder.js';
import { floatsAttribute, intAttribute, stringsAttribute } from './graphBuilder.js';

/** Writes a cell that was found in products and sums as the RNN, LSTM or GRU node that computes the same. */

/** Weights of all gates below each other, one row for every unit: [1, gates · H, size]. */
function stacked(parts: readonly Float64Array[], size: number, hidden: number): Float64Array {
  const out = new Float64Array(parts.length * hidden * size);
  parts.forEach((part, gate) => {
    for (let unit = 0; unit < hidden; unit++)
      for (let c = 0; c < size; c++) out[(gate * hidden + unit) * size + c] = part[c * hidden + unit]!;
  });
  return out;
}

/**
 * @param label name of the node
 * @param x [time, batch, I]
 * @param h first hidden state [1, batch, H]; an LSTM's c likewise
 * @returns Y [time, 1, batch, H], Y_h and Y_c [1, batch, H]
 */
export function recurrentNode(
  g: GraphBuilder,
  label: string,
  cell: FoundCell,
  x: string,
  h: string,
  c: string | null,
): { y: string; yH: string; yC: string } {
  const { gates, hiddenSize: n, inputSize, activations } = cell;
  const count = gates.length;
  const bias = new Float64Array(2 * count * n);
  gates.forEach((gate, i) => bias.set(gate.bias, i * n));
  if (cell.recurrentBias) bias.set(cell.recurrentBias, (2 * count - 1) * n);
  const weight = (key: string, size: number, parts: readonly Float64Array[]) =>
    g.constant(key, [1, count * n, size], stacked(parts, size, n));
  const operands = [
    x,
    weight(
      'W',
      inputSize,
      gates.map((gate) => gate.input),
    ),
    weight(
      'R',
      n,
      gates.map((gate) => gate.recurrent),
    ),
    g.constant('B', [1, 2 * count * n], bias),
    '',
    h,
    ...(c === null ? [] : [c]),
  ];
  const alphas = activations.filter((a) => takesAlpha(a.name)).map((a) => a.alpha);
  const betas = activations.filter((a) => takesBeta(a.name)).map((a) => a.beta);
  const outputs = ['Y', 'Y_h', ...(cell.kind === 'lstm' ? ['Y_c'] : [])].map((o) => g.name(o));
  const usual = { rnn: ['Tanh'], gru: ['Sigmoid', 'Tanh'], lstm: ['Sigmoid', 'Tanh', 'Tanh'] }[cell.kind];
  const isUsual = activations.every((a, i) => a.name === usual[i]);
  g.node(
    cell.kind.toUpperCase(),
    operands,
    [
      intAttribute('hidden_size', n),
      ...(cell.recurrentBias ? [intAttribute('linear_before_reset', 1)] : []),
      ...(isUsual
        ? []
        : [
            stringsAttribute(
              'activations',
              activations.map((a) => a.name),
            ),
          ]),
      ...(alphas.length > 0 ? [floatsAttribute('activation_alpha', alphas)] : []),
      ...(betas.length > 0 ? [floatsAttribute('activation_beta', betas)] : []),
    ],
    outputs,
  );
  g.nodes[g.nodes.length - 1]!.name = label;
  return { y: outputs[0]!, yH: outputs[1]!, yC: outputs[2] ?? '' };
}
