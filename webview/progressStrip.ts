import { button, h } from './dom.js';
import { post } from './host.js';

/** A progress bar with the step in words and a way to stop. Updated in place, so the button keeps its focus. */
export class ProgressStrip {
  readonly element: HTMLElement;
  readonly #bar: HTMLElementTagNameMap['vscode-progress-bar'];
  readonly #step = h('span', { role: 'status' });

  constructor(label: string) {
    this.#bar = h('vscode-progress-bar', { value: 0, 'aria-label': label });
    const cancel = button('Cancel', () => post({ type: 'cancel' }), { secondary: true });
    this.element = h('div', { class: 'progress' }, this.#bar, h('p', { class: 'step' }, this.#step, cancel));
  }

  update(step: string, fraction: number): void {
    this.#bar.value = Math.round(fraction * 100);
    if (this.#step.textContent !== step) this.#step.textContent = step;
  }
}
