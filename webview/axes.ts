import { axisBottom, axisLeft } from 'd3-axis';
import type { ScaleLinear, ScaleLogarithmic } from 'd3-scale';
import type { Selection } from 'd3-selection';
import { superscript } from './format.js';

export type Svg = Selection<SVGSVGElement, unknown, null, undefined>;
type Group = Selection<SVGGElement, unknown, null, undefined>;

export interface Scales {
  x: ScaleLinear<number, number>;
  y: ScaleLogarithmic<number, number>;
  left: number;
  right: number;
  top: number;
  bottom: number;
}

/** Powers of ten on the left, with a grid, and steps below. */
export function drawAxes(
  svg: Svg,
  { x, y, left, right, top, bottom }: Scales,
  titles: { horizontal: string; vertical: string },
): void {
  const [floor, highest] = y.domain() as [number, number];
  const decades = Math.round(Math.log10(highest / floor));
  const every = decades > 9 ? 2 : 1;
  const ticks = Array.from({ length: decades + 1 }, (_, i) => i)
    .filter((i) => i % every === 0)
    .map((i) => floor * 10 ** i);
  const grid = svg.append('g').attr('class', 'grid');
  for (const tick of ticks) grid.append('line').attr('x1', left).attr('x2', right).attr('y1', y(tick)).attr('y2', y(tick));
  const power = (value: number) => `10${superscript(Math.round(Math.log10(value)))}`;
  const vertical = axisLeft<number>(y).tickValues(ticks).tickFormat(power).tickSize(0).tickPadding(8);
  const longest = x.domain()[1]!;
  const horizontal = axisBottom<number>(x)
    .ticks(Math.min(longest, Math.max(2, (right - left) / 70)), 'd')
    .tickSizeOuter(0);
  svg.append<SVGGElement>('g').attr('class', 'axis').attr('transform', `translate(${left},0)`).call(vertical).call(withoutLine);
  svg.append<SVGGElement>('g').attr('class', 'axis').attr('transform', `translate(0,${bottom})`).call(horizontal);
  svg
    .append('text')
    .attr('class', 'title')
    .attr('x', (left + right) / 2)
    .attr('y', bottom + 38)
    .attr('text-anchor', 'middle')
    .text(titles.horizontal);
  svg
    .append('text')
    .attr('class', 'title')
    .attr('x', 4)
    .attr('y', top - 12)
    .text(titles.vertical);
}

function withoutLine(axis: Group): void {
  axis.select('.domain').remove();
}
