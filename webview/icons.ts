import type { Verdict } from '../src/report/report.js';

const svg = 'http://www.w3.org/2000/svg';

/** Outlines on a 24 × 24 grid, one shape per verdict: the meaning never hangs on the colour alone. */
const shapes: Record<Verdict, string> = {
  stable: 'M12 2.5 20 5.5v6c0 5-3.4 8.6-8 10-4.6-1.4-8-5-8-10v-6ZM8.2 12l2.7 2.7 5-5.2',
  'stable-on-data': 'M3 20.5h18M5 17v-4M9.7 17V9M14.3 17v-5M19 17v-7M4.5 6.5l3 2.5 4-5 4 3 4-4',
  inconclusive: 'M12 3a9 9 0 1 0 0 18 9 9 0 1 0 0-18ZM9.4 9.6a2.6 2.6 0 1 1 3.7 2.4c-.8.4-1.1.9-1.1 1.9M12 16.6v.6',
  unstable: 'M12 3.2 22 20.5H2ZM12 9.5v5M12 17.2v.6',
};

export function verdictIcon(verdict: Verdict): SVGElement {
  return outline(shapes[verdict], 'verdict-icon');
}

export function errorIcon(): SVGElement {
  return outline('M12 3a9 9 0 1 0 0 18 9 9 0 1 0 0-18ZM8.8 8.8l6.4 6.4M15.2 8.8l-6.4 6.4', 'verdict-icon');
}

function outline(path: string, className: string): SVGElement {
  const icon = document.createElementNS(svg, 'svg');
  icon.setAttribute('viewBox', '0 0 24 24');
  icon.setAttribute('class', className);
  icon.setAttribute('aria-hidden', 'true');
  const shape = document.createElementNS(svg, 'path');
  shape.setAttribute('d', path);
  icon.append(shape);
  return icon;
}
