import { dimSize, type Dim, type Shape } from './dims.js';
import type { Shapes } from './shapes.js';
import type { Tensor } from './tensor.js';

/**
 * The features of tensors, as one layer sees them: the elements at one time and one sequence, in row-major order of the axes
 * that are neither time nor batch.
 */
export class Features {
  /** @param outside ids of the atoms that are the layer's time and batch */
  constructor(
    private readonly shapes: Shapes,
    readonly outside: ReadonlySet<number>,
  ) {}

  shape(name: string): Shape | null {
    return this.shapes.shape(name);
  }

  /** True where some part of an axis is time or batch. */
  reachesOutside(dim: Dim): boolean {
    return dim.some((atom) => this.outside.has(atom.id));
  }

  /** Sizes of the feature part of every axis (1 where there is none); null where an axis mixes features with time or batch. */
  sizes(shape: Shape): number[] | null {
    const sizes = shape.map((dim) => {
      const outside = dim.filter((atom) => this.outside.has(atom.id)).length;
      if (outside > 0) return outside === dim.length ? 1 : null;
      return dimSize(dim);
    });
    return sizes.every((s) => s !== null) ? sizes : null;
  }

  count(name: string): number | null {
    const shape = this.shape(name);
    const sizes = shape && this.sizes(shape);
    return sizes ? sizes.reduce((a, b) => a * b, 1) : null;
  }

  /** The single axis that holds all features; null where they lie on several. */
  axis(name: string): number | null {
    const shape = this.shape(name);
    const sizes = shape && this.sizes(shape);
    if (!sizes) return null;
    const axes = sizes.flatMap((s, i) => (s > 1 ? [i] : []));
    if (axes.length > 1) return null;
    // A single feature lies on any axis of its own; time, whatever stands last, is none.
    const axis = axes[0] ?? shape.findLastIndex((dim) => !this.reachesOutside(dim));
    return axis < 0 ? null : axis;
  }

  /** A constant operand as one number per feature of `output`; null where it varies along time or batch. */
  perFeature(value: Tensor, output: string): Float64Array | null {
    const shape = this.shape(output);
    const sizes = shape && this.sizes(shape);
    if (!sizes) return null;
    const dims = sizes.map((_, i) => value.dims[i - sizes.length + value.dims.length] ?? 1);
    if (value.dims.length > sizes.length || dims.some((d, i) => d !== 1 && d !== sizes[i])) return null;
    const total = sizes.reduce((a, b) => a * b, 1);
    const stride = dims.map((d, i) => (d === 1 ? 0 : dims.slice(i + 1).reduce((a, b) => a * b, 1)));
    const at = sizes.map(() => 0);
    return Float64Array.from({ length: total }, () => {
      const v = value.data[at.reduce((sum, c, i) => sum + c * stride[i]!, 0)]!;
      for (let j = sizes.length - 1; j >= 0 && ++at[j]! >= sizes[j]!; j--) at[j] = 0;
      return v;
    });
  }

  /** Guards against a Reshape that moves time into another axis unseen: both sides must carry the same outside atoms. */
  keepsTime(input: string, output: string): boolean {
    const atoms = (name: string) =>
      (this.shape(name) ?? [])
        .flat()
        .map((a) => a.id)
        .filter((id) => this.outside.has(id))
        .join();
    return atoms(input) === atoms(output);
  }
}
