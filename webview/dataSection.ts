import type { StabilityReport } from '../src/report/report.js';
import { disclosure, h } from './dom.js';
import { count, number } from './format.js';
import { fact } from './summarySection.js';
import { dataFacts } from './words.js';

/** What was measured along the sequences: how fast differences shrink, and which units remember. */
export function dataSection(report: StabilityReport): HTMLElement[] {
  const { data, curve } = report;
  if (!data) return [];
  const longest = curve.k[(curve.measured?.length ?? 1) - 1] ?? 0;
  return [
    h(
      'section',
      { 'aria-labelledby': 'data-title' },
      h('h2', { id: 'data-title' }, 'Along the data'),
      h('dl', { class: 'facts' }, ...dataFacts(report).map(([name, value, note]) => fact(name, value, note))),
      ...data.layers.map((layer) => layerMemory(layer, longest, report.epsilon)),
    ),
  ];
}

type Layer = NonNullable<StabilityReport['data']>['layers'][number];

/** Bars of all units of a layer, in their order, and the units that remember longest as a table. */
function layerMemory({ name, unitMemory, jacobianNorm }: Layer, longest: number, epsilon: number): HTMLElement {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const height = 64;
  svg.setAttribute('class', 'units');
  svg.setAttribute('viewBox', `0 0 ${unitMemory.length} ${height}`);
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('aria-hidden', 'true');
  unitMemory.forEach((steps, unit) => {
    const bar = document.createElementNS(svg.namespaceURI, 'rect') as SVGRectElement;
    const size = (height * (steps ?? longest)) / Math.max(1, longest);
    bar.setAttribute('x', String(unit + 0.1));
    bar.setAttribute('width', '0.8');
    bar.setAttribute('y', String(height - size));
    bar.setAttribute('height', String(size));
    if (steps === null) bar.setAttribute('class', 'beyond');
    svg.append(bar);
  });
  const order = unitMemory.map((steps, unit) => ({ unit, steps })).sort((a, b) => (b.steps ?? Infinity) - (a.steps ?? Infinity));
  const inSteps = (steps: number | null) => (steps === null ? `over ${count(longest)}` : count(steps));
  const half = order[Math.floor(order.length / 2)]?.steps ?? null;
  const median =
    half === null
      ? `Most units need more than ${count(longest)}`
      : `Half of the units need up to ${count(half)}, the longest ${inSteps(order[0]!.steps)}`;
  const norms = jacobianNorm
    ? ` One step changes a difference by up to ‖J‖ = ${number(jacobianNorm.largest)} (median ${number(jacobianNorm.median)}, ${count(jacobianNorm.steps)} steps).`
    : '';
  const rows = order
    .slice(0, 20)
    .map(({ unit, steps }) =>
      h('tr', {}, h('th', { scope: 'row', class: 'figure' }, count(unit)), h('td', { class: 'figure' }, inSteps(steps))),
    );
  const head = h(
    'tr',
    {},
    h('th', { scope: 'col', class: 'figure' }, 'Unit'),
    h('th', { scope: 'col', class: 'figure' }, 'Steps'),
  );
  return h(
    'div',
    {},
    h('h3', {}, h('span', { class: 'name' }, name)),
    h(
      'p',
      { class: 'note' },
      `Memory of each unit: the steps of context from which on truncation moves it by no more than ${number(epsilon)}. ${median}.${norms}`,
    ),
    svg,
    disclosure(
      'Units that remember longest',
      false,
      () => {},
      h('table', { class: 'narrow' }, h('thead', {}, head), h('tbody', {}, ...rows)),
    ),
  );
}
