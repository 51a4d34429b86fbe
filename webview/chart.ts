import { scaleLinear, scaleLog } from 'd3-scale';
import { pointer, select } from 'd3-selection';
import { area, line } from 'd3-shape';
import { drawAxes, type Scales, type Svg } from './axes.js';
import { clipped, lastDrawn, lengthRange, valuesAt, type CurveData } from './curveData.js';
import { number } from './format.js';

/** The error curve as SVG: certified bound, measured error, the allowed error and a marker at the chosen length. */

export interface ChartText {
  bound: string;
  measured: string;
  epsilon: number;
}

const height = 320;
const labelGap = 16;
/** Narrower charts name their lines in the legend alone. */
const widthForLabels = 560;

export class Chart {
  readonly element: SVGSVGElement;
  readonly #svg: Svg;
  #scales: Scales | undefined;
  #k = 1;
  #longest: number;

  constructor(
    private readonly data: CurveData,
    private readonly text: ChartText,
    onChoose: (k: number) => void,
  ) {
    this.element = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    this.#svg = select(this.element).attr('class', 'chart').attr('aria-hidden', 'true');
    this.#longest = lastDrawn(data);
    const choose = (event: PointerEvent) => {
      if (this.#scales) onChoose(Math.min(this.#longest, Math.round(this.#scales.x.invert(pointer(event, this.element)[0]))));
    };
    this.#svg.on('pointerdown', (event: PointerEvent) => {
      this.element.setPointerCapture(event.pointerId);
      choose(event);
    });
    this.#svg.on('pointermove', (event: PointerEvent) => {
      if (event.buttons === 1) choose(event);
    });
    new ResizeObserver(() => this.#draw()).observe(this.element);
  }

  setLength(k: number): void {
    this.#k = k;
    if (k <= this.#longest) return this.#drawMarker();
    this.#longest = k;
    this.#draw();
  }

  #draw(): void {
    const width = this.element.clientWidth;
    if (width === 0) return;
    const labelled = width >= widthForLabels;
    const edges = { left: 58, right: width - (labelled ? 136 : 14), top: 26, bottom: height - 46 };
    this.#scales = {
      ...edges,
      x: scaleLinear([0, this.#longest], [edges.left, edges.right]),
      y: scaleLog([this.data.floor, this.data.top], [edges.bottom, edges.top]),
    };
    this.#svg.attr('viewBox', `0 0 ${width} ${height}`).attr('height', height).selectAll('*').remove();
    drawAxes(this.#svg, this.#scales, { horizontal: 'past steps kept, k', vertical: 'error' });
    this.#drawBand();
    this.#drawLine('bound', this.data.bound);
    this.#drawLine('measured', this.data.measured);
    const epsilonY = this.#scales.y(this.text.epsilon);
    this.#svg
      .append('line')
      .attr('class', 'epsilon')
      .attr('x1', edges.left)
      .attr('x2', edges.right)
      .attr('y1', epsilonY)
      .attr('y2', epsilonY);
    if (labelled) this.#drawLabels(this.#scales);
    this.#drawMarker();
  }

  #drawLine(kind: 'bound' | 'measured', values: number[] | null): void {
    const { x, y } = this.#scales!;
    if (values === null) return;
    const path = line<number>(
      (_, index) => x(this.data.k[index]!),
      (value) => y(clipped(this.data, value)),
    );
    this.#svg
      .append('path')
      .attr('class', `line ${kind}`)
      .attr('d', path(this.#drawn(values)));
  }

  /** From the error that half of the sequences stay below to the one that the stated share does. */
  #drawBand(): void {
    const { band } = this.data;
    if (band === null) return;
    const { x, y } = this.#scales!;
    const path = area<number>()
      .x((_, index) => x(this.data.k[index]!))
      .y0((_, index) => y(clipped(this.data, band.median[index]!)))
      .y1((value) => y(clipped(this.data, value)));
    this.#svg
      .append('path')
      .attr('class', 'band')
      .attr('d', path(this.#drawn(band.quantile)));
  }

  /** The part of a curve within the drawn lengths. */
  #drawn(values: number[]): number[] {
    return values.filter((_, index) => this.data.k[index]! <= this.#longest);
  }

  /** Names at the right ends of the lines, moved apart where the lines meet. */
  #drawLabels({ y, right, top, bottom }: Scales): void {
    const end = (values: number[]) => y(clipped(this.data, this.#drawn(values).at(-1)!));
    const labels = [
      ...(this.data.bound?.length ? [{ text: this.text.bound, kind: 'bound', y: end(this.data.bound) }] : []),
      ...(this.data.measured?.length ? [{ text: this.text.measured, kind: 'measured', y: end(this.data.measured) }] : []),
      { text: `allowed, ε = ${number(this.text.epsilon)}`, kind: 'epsilon', y: y(this.text.epsilon) },
    ].sort((a, b) => a.y - b.y);
    labels.forEach((label, index) => {
      if (index > 0) label.y = Math.max(label.y, labels[index - 1]!.y + labelGap);
    });
    const excess = Math.max(0, (labels.at(-1)?.y ?? 0) - bottom);
    // Pushed back up from the axis, the labels keep their order and gaps.
    labels.reduceRight(
      (limit, label) => {
        label.y = Math.max(top, Math.min(label.y, limit));
        return label.y - labelGap;
      },
      excess > 0 ? bottom : Infinity,
    );
    for (const label of labels) {
      const place = this.#svg
        .append('text')
        .attr('class', `label ${label.kind}`)
        .attr('x', right + 8)
        .attr('y', label.y);
      place.attr('dominant-baseline', 'middle').text(label.text);
    }
  }

  #drawMarker(): void {
    this.#svg.select('.marker').remove();
    if (!this.#scales) return;
    const { x, y, left, right, top, bottom } = this.#scales;
    const { min, max } = lengthRange(this.data);
    const k = Math.min(max, Math.max(min, this.#k));
    const marker = this.#svg
      .append('g')
      .attr('class', 'marker')
      .attr('transform', `translate(${x(k)},0)`);
    marker.append('line').attr('y1', top).attr('y2', bottom);
    const anchor = x(k) < left + 30 ? 'start' : x(k) > right - 30 ? 'end' : 'middle';
    marker
      .append('text')
      .attr('y', top - 9)
      .attr('text-anchor', anchor)
      .text(`k = ${k}`);
    const { bound, measured } = valuesAt(this.data, k);
    if (bound !== null)
      marker
        .append('circle')
        .attr('class', 'bound')
        .attr('r', 4)
        .attr('cy', y(clipped(this.data, bound)));
    if (measured !== null) {
      const cy = y(clipped(this.data, measured));
      marker
        .append('rect')
        .attr('class', 'measured')
        .attr('x', -4)
        .attr('y', cy - 4)
        .attr('width', 8)
        .attr('height', 8);
    }
  }
}
