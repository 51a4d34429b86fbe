import '@vscode-elements/elements/dist/vscode-button/index.js';
import '@vscode-elements/elements/dist/vscode-progress-bar/index.js';
import '@vscode-elements/elements/dist/vscode-textfield/index.js';
import type { FileHeader, ToPage } from '../src/report/messages.js';
import type { StabilityReport } from '../src/report/report.js';
import { hasCurve } from './curveData.js';
import { curveSection } from './curveSection.js';
import { button, h } from './dom.js';
import { dataSection } from './dataSection.js';
import { ExportSection, type ExportPhase } from './exportSection.js';
import { findingsSection } from './findingsSection.js';
import { bytes } from './format.js';
import { post } from './host.js';
import { errorIcon } from './icons.js';
import { layersSection } from './layersSection.js';
import { ProgressStrip } from './progressStrip.js';
import './report.css';
import './chart.css';
import { streamingSection } from './streamingSection.js';
import { factsSection, verdictSection } from './summarySection.js';
import { witnessSection } from './witnessSection.js';

/** The report page: a header that stands at once, a strip with the progress of a check, and the report or one error. */

type CheckPhase = { kind: 'idle' } | { kind: 'running'; step: string; fraction: number };

const header = h('header');
const progress = new ProgressStrip('Check progress');
const strip = h('div', { class: 'strip' });
const body = h('div', { class: 'body' });
document.getElementById('page')!.append(header, strip, body);

let shown: 'nothing' | 'report' | 'error' = 'nothing';
let exporting: ExportPhase = { kind: 'ready' };
let exportPart: ExportSection | undefined;

window.addEventListener('message', (event: MessageEvent<ToPage>) => receive(event.data));
showStrip({ kind: 'idle' });
post({ type: 'ready' });

function receive(message: ToPage): void {
  switch (message.type) {
    case 'header':
      return showHeader(message.header);
    case 'progress':
      if (exporting.kind === 'running') return showExport({ ...exporting, step: message.step, fraction: message.fraction });
      return showStrip({ kind: 'running', step: message.step, fraction: message.fraction });
    case 'report':
      showReport(message.report);
      return showStrip({ kind: 'idle' });
    case 'error':
      showError(message.message, message.asks);
      return showStrip({ kind: 'idle' });
    case 'idle':
      if (exporting.kind === 'running') showExport({ kind: 'ready' });
      return showStrip({ kind: 'idle' });
    case 'exporting':
      return showExport({ kind: 'running', length: message.length, step: '', fraction: 0 });
    case 'exported':
      return showExport({ kind: 'done', path: message.path, verification: message.verification });
    case 'exportFailed':
      return showExport({ kind: 'failed', message: message.message });
  }
}

function showHeader({ name, bytes: size }: FileHeader): void {
  const check = button('Check again', () => post({ type: 'check' }), { secondary: true });
  header.replaceChildren(h('div', {}, h('h1', {}, name), h('p', { class: 'quiet' }, `ONNX checkpoint, ${bytes(size)}`)), check);
}

function showStrip(phase: CheckPhase): void {
  header.classList.toggle('busy', phase.kind === 'running');
  body.classList.toggle('outdated', phase.kind === 'running' && shown !== 'nothing');
  if (phase.kind === 'running') {
    progress.update(phase.step, phase.fraction);
    if (!progress.element.isConnected) strip.replaceChildren(progress.element);
  } else {
    strip.replaceChildren(...(shown === 'nothing' ? [h('p', { class: 'quiet' }, 'Not checked yet.')] : []));
  }
}

function showReport(report: StabilityReport): void {
  const top = document.scrollingElement?.scrollTop ?? 0;
  const part = new ExportSection(report);
  part.show(exporting);
  exportPart = part;
  body.replaceChildren(
    verdictSection(report),
    factsSection(report),
    curveSection(report, (length) => part.setLength(length)),
    ...(hasCurve(report) ? [part.element] : []),
    ...streamingSection(report),
    ...witnessSection(report),
    ...dataSection(report),
    layersSection(report.layers),
    ...findingsSection(report),
  );
  shown = 'report';
  document.scrollingElement?.scrollTo({ top });
}

function showError(message: string, asks: boolean): void {
  exportPart = undefined;
  const text = h(
    'div',
    {},
    h('h2', { id: 'verdict-title' }, 'This file cannot be checked'),
    h('p', { class: 'summary' }, message),
    asks &&
      h(
        'div',
        { class: 'action' },
        button('Set inputs and states', () => post({ type: 'chooseInputs' })),
      ),
  );
  body.replaceChildren(
    h('section', { class: 'verdict failure', role: 'alert', 'aria-labelledby': 'verdict-title' }, errorIcon(), text),
  );
  shown = 'error';
}

function showExport(phase: ExportPhase): void {
  exporting = phase;
  exportPart?.show(phase);
}
