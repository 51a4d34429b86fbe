import type { StabilityReport } from '../src/report/report.js';
import type { Verification } from '../src/report/verification.js';
import { curveData, valuesAt, type CurveData } from './curveData.js';
import { button, h } from './dom.js';
import { bytes, count, number, plural } from './format.js';
import { post } from './host.js';
import { ProgressStrip } from './progressStrip.js';
import { basisNames, promiseAt } from './words.js';

export type ExportPhase =
  | { kind: 'ready' }
  | { kind: 'running'; length: number; step: string; fraction: number }
  | { kind: 'done'; path: string; verification: Verification }
  | { kind: 'failed'; message: string };

/** The export at the chosen length, and what comparing the two models showed. */
export class ExportSection {
  readonly element: HTMLElement;
  readonly #export = button('Export truncated feedforward ONNX', () => post({ type: 'export', length: this.#length }));
  readonly #promise = h('span', { class: 'quiet' });
  readonly #outcome = h('div', { 'aria-live': 'polite' });
  readonly #progress = new ProgressStrip('Export progress');
  readonly #data: CurveData;
  #length = 1;

  constructor(private readonly report: StabilityReport) {
    this.#data = curveData(report);
    this.element = h(
      'section',
      { 'aria-labelledby': 'export-title' },
      h('h2', { id: 'export-title' }, 'Feed-forward replacement'),
      h('div', { class: 'action' }, this.#export, this.#promise),
      this.#outcome,
    );
  }

  setLength(length: number): void {
    this.#length = length;
    const promise = promiseAt(this.report, valuesAt(this.#data, length), length);
    this.#promise.textContent = `Keeps the last ${plural(length, 'step')}, ${promise}. Written beside the checkpoint under a new name.`;
  }

  show(phase: ExportPhase): void {
    this.#export.disabled = phase.kind === 'running';
    if (phase.kind === 'running') this.#progress.update(phase.step, phase.fraction);
    const content = phase.kind === 'running' ? [this.#progress.element] : outcome(phase);
    // The cancel button must not be replaced under the pointer.
    if (content[0] !== this.#outcome.firstChild || content.length === 0) this.#outcome.replaceChildren(...content);
  }
}

function outcome(phase: Exclude<ExportPhase, { kind: 'running' }>): HTMLElement[] {
  switch (phase.kind) {
    case 'ready':
      return [];
    case 'failed':
      return [h('p', { class: 'failed' }, h('span', { class: 'mark bad' }, '✗'), phase.message)];
    case 'done':
      return [verificationBox(phase.path, phase.verification)];
  }
}

function verificationBox(path: string, verification: Verification): HTMLElement {
  const { passed, length, basis, recurrentError, bound, outputError, exactError } = verification;
  const row = (name: string, value: number | null, limit: string) =>
    h(
      'tr',
      {},
      h('th', { scope: 'row' }, name),
      h('td', { class: 'figure' }, value === null ? 'not compared' : number(value)),
      h('td', {}, limit),
    );
  return h(
    'div',
    { class: `verification ${passed ? 'passed' : 'missed'}` },
    h(
      'p',
      {},
      h('span', { class: passed ? 'mark good' : 'mark bad' }, passed ? '✓' : '✗'),
      h('strong', {}, passed ? 'Verified in ONNX Runtime' : 'Verification failed'),
      ` ${plural(length, 'step')}, ${basisNames[basis]}.`,
    ),
    h(
      'div',
      { class: 'scroll' },
      h(
        'table',
        {},
        h(
          'thead',
          {},
          h(
            'tr',
            {},
            h('th', { scope: 'col' }, 'Compared'),
            h('th', { scope: 'col', class: 'figure' }, 'Largest error'),
            h('th', { scope: 'col' }, 'Against'),
          ),
        ),
        h(
          'tbody',
          {},
          row(
            'Recurrent output, longer sequences',
            recurrentError,
            bound === null ? 'no certified bound' : `bound ${number(bound)}`,
          ),
          row('Model outputs, longer sequences', outputError, ''),
          row(`Model outputs, ${plural(length, 'step')} exactly`, exactError, 'rounding'),
        ),
      ),
    ),
    h(
      'p',
      { class: 'quiet' },
      `${plural(verification.windows, 'window')} of ${verification.source === 'samples' ? 'the samples' : 'synthetic input'}. `,
      `${count(verification.nodes)} nodes, ${bytes(verification.bytes)}.`,
    ),
    h(
      'p',
      { class: 'file' },
      h('span', { class: 'name' }, path),
      button('Reveal', () => post({ type: 'reveal', path }), { secondary: true }),
    ),
  );
}
