import type { StabilityReport } from '../src/report/report.js';
import { h } from './dom.js';
import { count, lambda, number } from './format.js';
import { verdictIcon } from './icons.js';
import { errorPlace, inputRangeText, safeLengthBasis, verdictTitles } from './words.js';

/** The verdict with its reason and what to do next. */
export function verdictSection(report: StabilityReport): HTMLElement {
  const { verdict } = report;
  return h(
    'section',
    { class: `verdict ${verdict}`, 'aria-labelledby': 'verdict-title' },
    verdictIcon(verdict),
    h('div', {}, h('h2', { id: 'verdict-title' }, verdictTitles[verdict]), h('p', { class: 'summary' }, report.summary)),
  );
}

export function factsSection(report: StabilityReport): HTMLElement {
  const { safeLength, model } = report;
  const range = inputRangeText(report);
  return h(
    'dl',
    { class: 'facts' },
    fact('Safe length', safeLength ? `${count(safeLength.k)} steps` : 'none', safeLengthBasis(report)),
    fact('Allowed error ε', number(report.epsilon), `Of ${errorPlace(report)}, max absolute.`),
    fact('Contraction λ', lambda(report.lambda), lambdaText(report)),
    fact('Input range', range.value, `${capitalised(range.source)}.`),
    fact('Recurrent parameters', count(model.parameters), `${model.producer || 'Unknown producer'}, opset ${model.opset}.`),
  );
}

export function fact(name: string, value: string, note: string): HTMLElement {
  return h('div', { class: 'fact' }, h('dt', {}, name), h('dd', { class: 'value' }, value), h('dd', { class: 'note' }, note));
}

function lambdaText({ lambda: certified, lambdaLowerBound }: StabilityReport): string {
  const lower = lambdaLowerBound === null ? '' : ` No constant below ${lambda(lambdaLowerBound)} exists.`;
  if (certified === null) return `No certificate gives a constant.${lower}`;
  return `${certified < 1 ? 'Proven, per step.' : 'Not below 1, so it proves nothing.'}${lower}`;
}

function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
