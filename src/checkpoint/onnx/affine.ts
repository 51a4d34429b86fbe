import { intAttribute, intsAttribute, floatAttribute } from './attributes.js';
import type { Constants } from './constants.js';
import { normalAxis } from './constants.js';
import { isStandard } from './model.js';
import type { NodeProto } from './onnx_pb.js';

/** A tensor as an affine function of others along its last axis: Σ base · weight + bias. */
export interface Affine {
  readonly size: number;
  /** Weights by base tensor: [rows of the base][columns], row-major. */
  readonly terms: ReadonlyMap<string, { readonly rows: number; readonly data: Float64Array }>;
  readonly bias: Float64Array;
}

/** Reads affine functions out of MatMul, Gemm, Add, Split and the like, in whatever order an exporter wrote them. */
export class AffineReader {
  private readonly known = new Map<string, Affine | null>();

  /**
   * @param producer the node that makes a tensor
   * @param constants values that are stored
   * @param dims sizes of a tensor as far as they are known
   */
  constructor(
    private readonly producer: (name: string) => NodeProto | undefined,
    private readonly constants: Pick<Constants, 'value' | 'integers'>,
    private readonly dims: (name: string) => readonly (number | null)[] | null,
  ) {}

  read(name: string): Affine | null {
    const known = this.known.get(name);
    if (known !== undefined) return known;
    this.known.set(name, null);
    const node = this.producer(name);
    const affine = node && isStandard(node) ? this.through(node, name) : null;
    this.known.set(name, affine);
    return affine;
  }

  /** The tensor itself behind operators that change nothing. */
  base(name: string): string {
    const node = this.producer(name);
    return node && isStandard(node) && (node.opType === 'Identity' || node.opType === 'Dropout')
      ? this.base(node.input[0]!)
      : name;
  }

  private through(node: NodeProto, name: string): Affine | null {
    const [a, b, c] = node.input;
    switch (node.opType) {
      case 'Identity':
      case 'Dropout':
        return this.read(a!);
      case 'Squeeze':
      case 'Unsqueeze':
      case 'Reshape': {
        const [before, after] = [this.dims(a!)?.at(-1), this.dims(name)?.at(-1)];
        return before !== undefined && before !== null && before === after ? this.read(a!) : null;
      }
      case 'Add':
        return this.sum(a!, b!);
      case 'MatMul':
        return this.product(a!, b!, false, 1);
      case 'Gemm': {
        if (intAttribute(node, 'transA')) return null;
        const product = this.product(a!, b!, intAttribute(node, 'transB') === 1, floatAttribute(node, 'alpha') ?? 1);
        if (!product || c === undefined || c === '') return product;
        const bias = this.biasOf(c, product.size);
        const beta = floatAttribute(node, 'beta') ?? 1;
        return bias && { ...product, bias: product.bias.map((v, i) => v + beta * bias[i]!) };
      }
      case 'Split':
      case 'Slice':
        return this.part(node, name);
      default:
        return null;
    }
  }

  private biasOf(name: string, size: number): Float64Array | null {
    const value = this.constants.value(name);
    if (!value || (value.data.length !== size && value.data.length !== 1)) return null;
    return Float64Array.from({ length: size }, (_, i) => value.data[value.data.length === 1 ? 0 : i]!);
  }

  private sum(a: string, b: string): Affine | null {
    const [left, right] = [this.read(a), this.read(b)];
    if (!left || !right) {
      const affine = left ?? right;
      const bias = affine && this.biasOf(left ? b : a, affine.size);
      return bias && { ...affine, bias: affine.bias.map((v, i) => v + bias[i]!) };
    }
    if (left.size !== right.size) return null;
    const terms = new Map(left.terms);
    for (const [base, term] of right.terms) {
      const other = terms.get(base);
      terms.set(base, other ? { rows: term.rows, data: term.data.map((v, i) => v + other.data[i]!) } : term);
    }
    return { size: left.size, terms, bias: left.bias.map((v, i) => v + right.bias[i]!) };
  }

  private product(a: string, b: string, transposed: boolean, alpha: number): Affine | null {
    const weight = this.constants.value(b);
    if (weight?.dims.length !== 2) return null;
    const [rows, size] = transposed ? [weight.dims[1]!, weight.dims[0]!] : [weight.dims[0]!, weight.dims[1]!];
    const at = (r: number, col: number) => alpha * weight.data[transposed ? col * rows + r : r * size + col]!;
    const terms = new Map<string, { rows: number; data: Float64Array }>();
    let from = 0;
    for (const part of this.joinedParts(a, rows)) {
      if (part.size === null || terms.has(part.name)) return null;
      const start = from;
      const data = Float64Array.from({ length: part.size * size }, (_, i) => at(start + Math.floor(i / size), i % size));
      terms.set(part.name, { rows: part.size, data });
      from += part.size;
    }
    return from === rows ? { size, terms, bias: new Float64Array(size) } : null;
  }

  /** The tensors that stand side by side in the operand of a product. */
  private joinedParts(name: string, total: number): { name: string; size: number | null }[] {
    const base = this.base(name);
    const node = this.producer(base);
    const rank = this.dims(base)?.length ?? this.dims(node?.input[0] ?? '')?.length ?? 2;
    if (
      !node ||
      !isStandard(node) ||
      node.opType !== 'Concat' ||
      normalAxis(intAttribute(node, 'axis') ?? 1, rank, node) !== rank - 1
    )
      return [{ name: base, size: total }];
    const parts = node.input.map((part) => ({ name: this.base(part), size: this.dims(part)?.at(-1) ?? null }));
    const open = parts.filter((p) => p.size === null);
    // One unknown size follows from the others.
    if (open.length === 1) open[0]!.size = total - parts.reduce((sum, p) => sum + (p.size ?? 0), 0);
    return parts;
  }

  private columns(from: Affine | null, start: number, size: number): Affine | null {
    if (!from || start < 0 || size <= 0 || start + size > from.size) return null;
    const cut = (data: Float64Array, rows: number) =>
      Float64Array.from({ length: rows * size }, (_, i) => data[Math.floor(i / size) * from.size + start + (i % size)]!);
    const terms = new Map([...from.terms].map(([base, t]) => [base, { rows: t.rows, data: cut(t.data, t.rows) }]));
    return { size, terms, bias: from.bias.subarray(start, start + size) };
  }

  private isLastAxis(axis: number, tensor: string): boolean {
    if (axis === -1) return true;
    const rank = this.dims(tensor)?.length;
    return rank !== undefined && axis === rank - 1;
  }

  /** The columns of a tensor that a Split or Slice along its last axis takes. */
  private range(node: NodeProto, name: string, whole: number): { start: number; size: number } | null {
    const list = (key: string, i: number) => intsAttribute(node, key) ?? this.constants.integers(node.input[i]);
    if (node.opType === 'Split') {
      if (!this.isLastAxis(intAttribute(node, 'axis') ?? 0, node.input[0]!)) return null;
      const sizes = list('split', 1) ?? node.output.map(() => whole / node.output.length);
      const index = node.output.indexOf(name);
      return { start: sizes.slice(0, index).reduce((x, y) => x + y, 0), size: sizes[index]! };
    }
    const [starts, ends, axes, steps] = [list('starts', 1), list('ends', 2), list('axes', 3), list('steps', 4)];
    if (starts?.length !== 1 || !ends || (steps && steps[0] !== 1) || !this.isLastAxis(axes?.[0] ?? 0, node.input[0]!))
      return null;
    const clamp = (v: number) => Math.min(Math.max(v < 0 ? v + whole : v, 0), whole);
    return { start: clamp(starts[0]!), size: clamp(ends[0]!) - clamp(starts[0]!) };
  }

  private part(node: NodeProto, name: string): Affine | null {
    const whole = this.read(node.input[0]!);
    const range = whole && this.range(node, name, whole.size);
    return range && this.columns(whole, range.start, range.size);
  }

  /** An elementwise node with the affine function under it, through cuts of its result too; null where there is none. */
  elementwise(name: string, isKnown: (opType: string) => boolean): { node: NodeProto; affine: Affine } | null {
    const base = this.base(name);
    const node = this.producer(base);
    if (!node || !isStandard(node)) return null;
    if (isKnown(node.opType)) {
      const affine = this.read(node.input[0]!);
      return affine && { node, affine };
    }
    if (node.opType !== 'Split' && node.opType !== 'Slice') return null;
    const whole = this.elementwise(node.input[0]!, isKnown);
    const range = whole && this.range(node, base, whole.affine.size);
    const affine = range && this.columns(whole.affine, range.start, range.size);
    return affine && { node: whole!.node, affine };
  }
}
