import type { Diagnostic } from '../src/report/report.js';
import { h } from './dom.js';

const signs: Record<Diagnostic['severity'], string> = { error: '✗', warning: '!', information: 'i', hint: '·' };

/** The findings of the Problems panel: a row there cannot lead into a binary file, so they stand here too. */
export function findingsSection(diagnostics: Diagnostic[]): HTMLElement {
  const items = diagnostics.map(({ code, severity, message, layer }) =>
    h(
      'li',
      {},
      h('span', { class: `sign ${severity}`, role: 'img', 'aria-label': severity }, signs[severity]),
      h('span', {}, message, ' ', layer !== undefined && h('span', { class: 'name quiet' }, `${layer} `), h('code', {}, code)),
    ),
  );
  return h(
    'section',
    { 'aria-labelledby': 'findings-title' },
    h('h2', { id: 'findings-title' }, 'Findings'),
    h('ul', { class: 'findings' }, ...items),
  );
}
