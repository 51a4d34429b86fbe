import { h } from './dom.js';

/** A line sample with the dash pattern of the chart, and what it stands for. */
export function legendEntry(kind: 'bound' | 'measured' | 'epsilon', text: string): HTMLElement {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 28 8');
  svg.setAttribute('class', 'sample');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(svg.namespaceURI, 'path');
  path.setAttribute('d', 'M0 4H28');
  path.setAttribute('class', `line ${kind}`);
  svg.append(path);
  return h('span', { class: 'entry' }, svg, text);
}
