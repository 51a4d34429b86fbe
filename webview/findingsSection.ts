import { diagnosticHelp } from '../src/report/help.js';
import type { Diagnostic, StabilityReport } from '../src/report/report.js';
import { button, h } from './dom.js';
import { post } from './host.js';

const signs: Record<Diagnostic['severity'], string> = { error: '✗', warning: '!', information: 'i', hint: '·' };

/** A button for what can be mended here. */
function mend({ curve }: StabilityReport, { code, question }: Diagnostic): HTMLElement | undefined {
  const onSamples = curve.measuredOn?.source === 'samples';
  if (['no-samples', 'too-few-samples'].includes(code)) {
    return button('Choose sample sequences', () => post({ type: 'chooseSamples' }), { secondary: true });
  }
  if (question) return button('Set inputs and states', () => post({ type: 'chooseInputs' }), { secondary: true });
  if (onSamples && ['default-input-range', 'samples-outside-range'].includes(code)) {
    return button('Take the range from the samples', () => post({ type: 'useSampleRange' }), { secondary: true });
  }
  return undefined;
}

/** The findings of the Problems panel: a row there cannot lead into a binary file, so they stand here too. */
export function findingsSection(report: StabilityReport): HTMLElement[] {
  const { diagnostics, summary } = report;
  // The verdict's own finding stands at the top of the page, a witness in its own section.
  const others = diagnostics.filter(({ code, message }) => message !== summary && code !== 'witness-found');
  if (others.length === 0) return [];
  const items = others.map((finding) => {
    const { code, severity, message, layer } = finding;
    return h(
      'li',
      {},
      h('span', { class: `sign ${severity}`, role: 'img', 'aria-label': severity }, signs[severity]),
      h(
        'span',
        {},
        message,
        ' ',
        layer !== undefined && !message.includes(layer) && h('span', { class: 'name quiet' }, `${layer} `),
        h('a', { class: 'name', href: diagnosticHelp(code) }, code),
        mend(report, finding),
      ),
    );
  });
  const title = h('h2', { id: 'findings-title' }, 'Notes');
  return [h('section', { 'aria-labelledby': 'findings-title' }, title, h('ul', { class: 'findings' }, ...items))];
}
