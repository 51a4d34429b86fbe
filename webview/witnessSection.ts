import type { StabilityReport } from '../src/report/report.js';
import { witnessInWords } from '../src/report/witnessWords.js';
import { distanceChart } from './distanceChart.js';
import { distanceData, distanceRows, distanceSummary, witnessFacts, type DistanceData } from './distanceData.js';
import { disclosure, h } from './dom.js';
import { count, number } from './format.js';
import { legendEntry } from './legend.js';
import { fact } from './summarySection.js';

/** Two histories that one input does not make forget: what they show, and how far apart their outputs stay. */
export function witnessSection({ witness }: StabilityReport): HTMLElement[] {
  if (!witness) return [];
  const data = distanceData(witness);
  return [
    h(
      'section',
      { 'aria-labelledby': 'witness-title' },
      h('h2', { id: 'witness-title' }, 'Two histories, one input'),
      h('p', {}, witnessInWords(witness)),
      h('dl', { class: 'facts' }, ...witnessFacts(witness).map(([name, value, note]) => fact(name, value, note))),
      h(
        'div',
        { class: 'legend always' },
        legendEntry('bound', 'by the cell equations, float64'),
        data.replayed ? legendEntry('measured', 'the file in ONNX Runtime') : undefined,
        legendEntry('epsilon', `merged below ${number(data.threshold)}`),
      ),
      h('p', { class: 'visually-hidden' }, distanceSummary(witness)),
      distanceChart(data),
      disclosure('Distances as a table', false, () => {}, table(data)),
    ),
  ];
}

function table(data: DistanceData): HTMLElement {
  const figure = (value: number | null) => h('td', { class: 'figure' }, number(value));
  const column = (name: string) => h('th', { scope: 'col', class: 'figure' }, name);
  const rows = distanceRows(data).map(([step, computed, replayed]) =>
    h(
      'tr',
      {},
      h('th', { scope: 'row', class: 'figure' }, count(step)),
      figure(computed),
      data.replayed !== null && figure(replayed),
    ),
  );
  const head = h('tr', {}, column('Step'), column('Float64'), data.replayed !== null && column('ONNX Runtime'));
  return h('div', { class: 'scroll' }, h('table', { class: 'narrow' }, h('thead', {}, head), h('tbody', {}, ...rows)));
}
