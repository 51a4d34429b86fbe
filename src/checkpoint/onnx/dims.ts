/**
 * Symbolic shapes. A dimension is a product of atoms, and an atom keeps its identity through Transpose, Reshape and the
 * like, so that "the time axis of this LSTM" can be followed to the graph's input and output without knowing its size.
 */
export interface Atom {
  readonly id: number;
  /** null when only known at run time. */
  readonly size: number | null;
}
/** Product of atoms; the empty product is a dimension of size 1. */
export type Dim = readonly Atom[];
export type Shape = readonly Dim[];

export function dimSize(dim: Dim): number | null {
  let size = 1;
  for (const atom of dim) {
    if (atom.size === null) return null;
    size *= atom.size;
  }
  return size;
}

function sameDim(a: Dim, b: Dim): boolean {
  return a.length === b.length && a.every((atom, i) => atom.id === b[i]!.id);
}

/** One element of an integer tensor that describes a shape. */
export type ShapeElement = Dim | number;

/**
 * The dimensions of a Reshape's output: the target is matched against the atoms from both ends, and what is left in the
 * middle belongs to -1. Null where target and atoms do not fit.
 */
export function reshapeDims(
  x: Shape,
  target: readonly ShapeElement[],
  allowZero: boolean,
  newAtom: (size: number) => Atom,
): Shape | null {
  const elements = target.map((e, i) => (e === 0 && !allowZero ? (x[i] ?? null) : e));
  if (elements.some((e) => e === null)) return null;
  const atoms = [...x.flat()];
  const free = elements.indexOf(-1);
  const out: Dim[] = [];
  const head = free < 0 ? elements.length : free;
  for (let i = 0; i < head; i++) {
    const taken = take(atoms, elements[i]!, 'start', newAtom);
    if (!taken) return null;
    out[i] = taken;
  }
  for (let i = elements.length - 1; i > head; i--) {
    const taken = take(atoms, elements[i]!, 'end', newAtom);
    if (!taken) return null;
    out[i] = taken;
  }
  if (free >= 0) out[free] = atoms;
  else if (atoms.length > 0) return null;
  return out;
}

/** Removes from one end of `atoms` those whose product is the element, splitting an atom where it must. */
function take(atoms: Atom[], element: ShapeElement, end: 'start' | 'end', newAtom: (size: number) => Atom): Dim | null {
  const next = () => (end === 'start' ? atoms[0] : atoms[atoms.length - 1]);
  const taken: Atom[] = [];
  const move = () => {
    if (end === 'start') taken.push(atoms.shift()!);
    else taken.unshift(atoms.pop()!);
  };
  if (typeof element !== 'number') {
    for (let i = 0; i < element.length; i++) {
      if (atoms.length === 0) return null;
      move();
    }
    return sameDim(taken, element) ? taken : null;
  }
  let rest = element;
  while (rest > 1) {
    const atom = next();
    if (!atom || atom.size === null) return null;
    if (rest % atom.size === 0) {
      rest /= atom.size;
      move();
    } else if (atom.size % rest === 0) {
      const near = newAtom(rest);
      const far = newAtom(atom.size / rest);
      if (end === 'start') atoms.splice(0, 1, near, far);
      else atoms.splice(-1, 1, far, near);
      rest = 1;
      move();
    } else {
      return null;
    }
  }
  return taken;
}
