import type { StabilityReport } from '../src/report/report.js';
import { h } from './dom.js';
import { fact } from './summarySection.js';
import { stateKinds } from '../src/report/words.js';
import { streamingFacts } from './words.js';

/** What is special about a model that computes one frame per call: its frames, the state its caller carries, and what doing without costs. */
export function streamingSection(report: StabilityReport): HTMLElement[] {
  const { streaming } = report;
  if (!streaming) return [];
  const columns = ['Input', 'Fed back from', 'Shape', 'What it is', 'Of'];
  const rows = streaming.states.map(({ input, output, shape, kind, of }) =>
    h(
      'tr',
      {},
      h('th', { scope: 'row', class: 'name' }, input),
      h('td', { class: 'name' }, output),
      h('td', {}, `[${shape.join(', ')}]`),
      h('td', {}, stateKinds[kind]),
      h('td', { class: 'name' }, of.join(', ')),
    ),
  );
  const head = h('thead', {}, h('tr', {}, ...columns.map((name) => h('th', { scope: 'col' }, name))));
  return [
    h(
      'section',
      { 'aria-labelledby': 'streaming-title' },
      h('h2', { id: 'streaming-title' }, 'Carried state'),
      h('div', { class: 'scroll' }, h('table', {}, head, h('tbody', {}, ...rows))),
      h('dl', { class: 'facts' }, ...streamingFacts(streaming).map(([name, value, note]) => fact(name, value, note))),
    ),
  ];
}
