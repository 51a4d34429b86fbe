import type { Certificate, LayerReport } from '../src/report/report.js';
import { disclosure, h } from './dom.js';
import { count, lambda, number, plural } from './format.js';
import { keepState, viewState } from './host.js';
import { cellNames, certificateName, normName } from './words.js';

/** One row per recurrent layer, and under it the certificates with their conditions. */
export function layersSection(layers: LayerReport[]): HTMLElement {
  const columns = ['Layer', 'Cell', 'Direction', 'Input', 'Hidden', 'λ', 'Lower bound', 'Certified by'];
  const head = columns.map((name, index) =>
    h('th', { scope: 'col', class: index > 2 && index < 7 ? 'figure' : undefined }, name),
  );
  return h(
    'section',
    { 'aria-labelledby': 'layers-title' },
    h('h2', { id: 'layers-title' }, 'Recurrent layers'),
    h('div', { class: 'scroll' }, h('table', {}, h('thead', {}, h('tr', {}, ...head)), h('tbody', {}, ...layers.map(layerRow)))),
    h(
      'p',
      { class: 'note' },
      'λ is the smallest proven contraction constant of one step; below 1 the layer forgets. The lower bound is what no such constant can go below. Of the certificates that hold, the one named gives the smallest certified length; the curve uses all of them together.',
    ),
    ...layers.filter(({ certificates }) => certificates.length > 0).map(layerCertificates),
  );
}

function layerRow(layer: LayerReport): HTMLElement {
  return h(
    'tr',
    {},
    h('th', { scope: 'row', class: 'name' }, layer.name),
    h('td', {}, cellNames[layer.cell]),
    h('td', {}, layer.direction),
    h('td', { class: 'figure' }, count(layer.inputSize)),
    h('td', { class: 'figure' }, count(layer.hiddenSize)),
    h('td', { class: 'figure' }, lambda(layer.lambda)),
    h('td', { class: 'figure' }, lambda(layer.lambdaLowerBound)),
    h('td', {}, layer.certifiedBy === null ? '–' : certificateName(layer.certifiedBy)),
  );
}

function layerCertificates(layer: LayerReport): HTMLElement {
  const holding = layer.certificates.filter(contracts).length;
  const summary = h(
    'span',
    {},
    h('span', { class: 'name' }, layer.name),
    h(
      'span',
      { class: 'quiet' },
      ` ${holding === 0 ? 'no certificate holds' : `${holding} of ${plural(layer.certificates.length, 'certificate')} ${holding === 1 ? 'holds' : 'hold'}`}`,
    ),
  );
  const remember = (open: boolean) => {
    const others = viewState().openLayers.filter((name) => name !== layer.name);
    keepState({ openLayers: open ? [...others, layer.name] : others });
  };
  return disclosure(
    summary,
    viewState().openLayers.includes(layer.name),
    remember,
    h('div', { class: 'certificates' }, ...layer.certificates.map(certificate)),
  );
}

/** A certificate proves stability when its conditions hold and its constant is below one. */
function contracts({ holds, lambda }: Certificate): boolean {
  return holds && lambda !== null && lambda < 1;
}

function certificate(item: Certificate): HTMLElement {
  const proves = contracts(item);
  const constant = item.lambda === null ? '' : `: λ = ${lambda(item.lambda)} in the ${normName(item.norm)}`;
  const alone = item.length === null ? '' : `; alone it certifies k = ${count(item.length)} for this layer`;
  const note = item.note === undefined ? '' : ` (${item.note})`;
  return h(
    'div',
    { class: 'certificate' },
    h(
      'p',
      {},
      h('span', { class: proves ? 'mark good' : 'mark bad' }, proves ? '✓' : '✗'),
      h('strong', {}, certificateName(item.name)),
      h('span', { class: 'quiet' }, ` ${proves ? 'holds' : 'does not hold'}${constant}${alone}${note}`),
    ),
    item.conditions && item.conditions.length > 0 && h('div', { class: 'scroll' }, conditions(item.conditions)),
  );
}

function conditions(list: NonNullable<Certificate['conditions']>): HTMLElement {
  const head = h(
    'tr',
    {},
    h('th', { scope: 'col' }, 'Condition'),
    h('th', { scope: 'col', class: 'figure' }, 'Value'),
    h('th', { scope: 'col', class: 'figure' }, 'Limit'),
    h('th', { scope: 'col' }, 'Holds'),
  );
  const rows = list.map(({ text, value, limit, holds }) =>
    h(
      'tr',
      {},
      h('td', { class: 'formula' }, text),
      h('td', { class: 'figure' }, number(value)),
      h('td', { class: 'figure' }, number(limit)),
      h('td', {}, h('span', { class: holds ? 'mark good' : 'mark bad' }, holds ? '✓' : '✗'), holds ? 'yes' : 'no'),
    ),
  );
  return h('table', {}, h('thead', {}, head), h('tbody', {}, ...rows));
}
