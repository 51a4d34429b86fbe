import { scaleLinear, scaleLog } from 'd3-scale';
import { select } from 'd3-selection';
import { line } from 'd3-shape';
import { drawAxes } from './axes.js';
import type { DistanceData } from './distanceData.js';

const height = 240;

/** Distance of two histories over the common input: in float64 solid, in ONNX Runtime dashed, the threshold dotted. */
export function distanceChart(data: DistanceData): SVGSVGElement {
  const element = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const svg = select(element).attr('class', 'chart distance').attr('aria-hidden', 'true');
  const draw = () => {
    const width = element.clientWidth;
    if (width === 0) return;
    const edges = { left: 58, right: width - 14, top: 26, bottom: height - 46 };
    const x = scaleLinear([0, data.lastStep], [edges.left, edges.right]);
    const y = scaleLog([data.floor, data.top], [edges.bottom, edges.top]).clamp(true);
    svg.attr('viewBox', `0 0 ${width} ${height}`).selectAll('*').remove();
    drawAxes(svg, { ...edges, x, y }, { horizontal: 'steps of the common input', vertical: 'distance' });
    // A distance of zero has no logarithm; it is drawn at the bottom.
    const path = line<[number, number]>(
      ([t]) => x(t),
      ([, d]) => y(Math.max(data.floor, d)),
    );
    svg.append('path').attr('class', 'line bound').attr('d', path(data.computed));
    if (data.replayed) svg.append('path').attr('class', 'line measured').attr('d', path(data.replayed));
    const level = y(data.threshold);
    svg
      .append('line')
      .attr('class', 'epsilon')
      .attr('x1', edges.left)
      .attr('x2', edges.right)
      .attr('y1', level)
      .attr('y2', level);
  };
  new ResizeObserver(draw).observe(element);
  return element;
}
