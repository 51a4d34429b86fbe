import type { StabilityReport } from '../src/report/report.js';
import { proposedLength } from '../src/report/proposedLength.js';
import { Chart } from './chart.js';
import { curveData, hasCurve, lengthRange, tableRows, valuesAt, type CurveData } from './curveData.js';
import { disclosure, h } from './dom.js';
import { count, number, percent } from './format.js';
import { keepState, viewState } from './host.js';
import { legendEntry } from './legend.js';
import { bandText, curveSummary, errorPlace, measuredLabel, measuredOn, worstWindow } from './words.js';

/** The chart, the number field bound to its marker, and the values at the chosen length. */
export function curveSection(report: StabilityReport, onLength: (k: number) => void): HTMLElement {
  const data = curveData(report);
  if (!hasCurve(report)) return emptySection();
  const rememberTable = (open: boolean) => keepState({ curveTableOpen: open });
  const range = lengthRange(data);
  const within = (k: number) => Math.min(range.max, Math.max(range.min, k));
  let length = within(viewState().k ?? proposedLength(report).length);

  const chart = new Chart(data, { bound: 'certified bound', measured: measuredLabel(report), epsilon: report.epsilon }, choose);
  const slider = h('div', {
    class: 'slider',
    role: 'slider',
    tabindex: 0,
    'aria-label': 'Truncation length k',
    'aria-describedby': 'curve-summary',
    'aria-valuemin': range.min,
    'aria-valuemax': range.max,
  });
  slider.append(chart.element);
  slider.addEventListener('keydown', (event) => {
    const next = keyTarget(event.key, length, range);
    if (next === undefined) return;
    event.preventDefault();
    choose(next);
  });

  const field = h('vscode-textfield', {
    id: 'length',
    type: 'number',
    min: range.min,
    max: range.max,
    step: 1,
    label: 'Truncation length k',
  });
  field.addEventListener('input', () => {
    const typed = Number(field.value);
    if (field.value !== '' && Number.isInteger(typed) && within(typed) === typed) choose(typed);
  });
  // Leaving the field puts back a number that can be exported.
  field.addEventListener('change', () => (field.value = String(length)));
  const readout = h('div', { class: 'readout' });

  function choose(k: number): void {
    if (within(k) === length) return;
    length = within(k);
    keepState({ k: length });
    show();
  }

  function show(): void {
    chart.setLength(length);
    if (Number(field.value) !== length) field.value = String(length);
    const values = readoutText(report, data, length);
    slider.setAttribute('aria-valuenow', String(length));
    slider.setAttribute('aria-valuetext', `k = ${length}: ${values.map(({ name, value }) => `${name} ${value}`).join(', ')}`);
    readout.replaceChildren(
      ...values.map(({ name, value, good }) =>
        h('span', {}, h('span', { class: 'quiet' }, `${name} `), h('strong', {}, value), good),
      ),
    );
    onLength(length);
  }

  const element = h(
    'section',
    { 'aria-labelledby': 'curve-title' },
    h('h2', { id: 'curve-title' }, 'Error after truncation'),
    legend(report),
    h('p', { id: 'curve-summary', class: 'visually-hidden' }, curveSummary(report)),
    slider,
    ...notes(report, data),
    h('div', { class: 'chosen' }, h('label', { for: 'length' }, 'k'), field, readout),
    disclosure('Values as a table', viewState().curveTableOpen, rememberTable, table(report, data, length)),
  );
  show();
  return element;
}

function emptySection(): HTMLElement {
  const text =
    'The model could not be measured and no certificate gives a bound, so there is no error curve. The notes below say why.';
  return h(
    'section',
    { 'aria-labelledby': 'curve-title' },
    h('h2', { id: 'curve-title' }, 'Error after truncation'),
    h('p', {}, text),
  );
}

function keyTarget(key: string, k: number, range: { min: number; max: number }): number | undefined {
  const steps: Record<string, number> = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 };
  if (key === 'Home') return range.min;
  if (key === 'End') return range.max;
  const step = steps[key];
  return step === undefined ? undefined : k + step;
}

function readoutText(report: StabilityReport, data: CurveData, length: number): { name: string; value: string; good: string }[] {
  const { k, bound, measured } = valuesAt(data, length);
  const worst = worstWindow(report, data.k.indexOf(k));
  const at = k === length ? '' : ` at k = ${k}`;
  const against = (value: number) => (value <= report.epsilon ? ' ≤ ε' : ' > ε');
  return [
    bound === null
      ? { name: 'certified bound', value: 'none', good: '' }
      : { name: `certified bound${at}`, value: number(bound), good: against(bound) },
    ...(measured === null ? [] : [{ name: `${measuredLabel(report)}${at}`, value: number(measured), good: against(measured) }]),
    ...(measured === null || worst === undefined ? [] : [{ name: 'worst window', value: worst, good: '' }]),
  ];
}

function legend(report: StabilityReport): HTMLElement {
  return h(
    'div',
    { class: 'legend' },
    report.curve.bound ? legendEntry('bound', 'certified bound') : undefined,
    report.curve.measured ? legendEntry('measured', measuredLabel(report)) : undefined,
    legendEntry('epsilon', `allowed error ε = ${number(report.epsilon)}`),
  );
}

function notes(report: StabilityReport, data: CurveData): HTMLElement[] {
  const texts = [
    `The error is that of ${errorPlace(report)}.`,
    measuredOn(report),
    bandText(report),
    report.curve.bound === null
      ? 'There is no certified bound: no certificate covers this network over its input range.'
      : undefined,
    data.clippedBelow ? `Errors below ${number(data.floor)} are drawn at the bottom of the chart.` : undefined,
    data.clippedAbove ? `Errors above ${number(data.top)} are drawn at the top of the chart.` : undefined,
  ];
  return texts.flatMap((text) => (text === undefined ? [] : [h('p', { class: 'note' }, text)]));
}

function table(report: StabilityReport, data: CurveData, length: number): HTMLElement {
  const rows = tableRows(data, length).map((index) =>
    h(
      'tr',
      {},
      h('th', { scope: 'row', class: 'figure' }, count(data.k[index]!)),
      data.bound !== null && h('td', { class: 'figure' }, number(data.bound[index] ?? null)),
      data.measured !== null && h('td', { class: 'figure' }, number(data.measured[index] ?? null)),
      data.band !== null && h('td', { class: 'figure' }, number(data.band.quantile[index] ?? null)),
      data.band !== null && h('td', { class: 'figure' }, number(data.band.median[index] ?? null)),
      data.band !== null && h('td', {}, worstWindow(report, index) ?? '–'),
    ),
  );
  const head = h(
    'tr',
    {},
    h('th', { scope: 'col', class: 'figure' }, 'k'),
    data.bound !== null && h('th', { scope: 'col', class: 'figure' }, 'Certified bound'),
    data.measured !== null && h('th', { scope: 'col', class: 'figure' }, capitalised(measuredLabel(report))),
    data.band !== null && h('th', { scope: 'col', class: 'figure' }, `${percent(data.band.share)} of sequences`),
    data.band !== null && h('th', { scope: 'col', class: 'figure' }, 'Half of them'),
    data.band !== null && h('th', { scope: 'col' }, 'Worst window'),
  );
  return h('div', { class: 'scroll' }, h('table', { class: 'narrow' }, h('thead', {}, head), h('tbody', {}, ...rows)));
}

function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
