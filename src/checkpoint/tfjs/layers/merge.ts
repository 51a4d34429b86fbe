import {
  asFloat,
  axisOf,
  intAttribute,
  intsAttribute,
  shaped,
  type LayerContext,
  type LayerConverter,
  type Value,
} from '../layer.js';

/** Steps that every masked input counts. */
function commonMask(c: LayerContext, inputs: readonly Value[]): string | null {
  const masks = inputs.flatMap((x) => (x.mask === null ? [] : [x.mask]));
  return masks.length === 0 ? null : masks.reduce((a, b) => c.g.node('And', [a, b]));
}

/** Inputs of fewer dimensions get more of size 1 after the batch. */
function aligned(c: LayerContext, inputs: readonly Value[]): Value[] {
  const rank = Math.max(...inputs.map((x) => x.shape.length));
  return inputs.map((x) => {
    let [name, shape] = [asFloat(c.g, x), x.shape];
    while (shape.length < rank) {
      name = c.g.unsqueeze(name, 1);
      shape = [shape[0]!, 1, ...shape.slice(1)];
    }
    return { ...x, name, shape };
  });
}

function broadcast(c: LayerContext, inputs: readonly Value[]): (number | null)[] {
  return inputs[0]!.shape.map((_, axis) => {
    const sizes = new Set(inputs.map((x) => x.shape[axis]!).filter((d) => d !== 1));
    const known = [...sizes].filter((d) => d !== null);
    if (known.length > 1) {
      c.config.fail('bad-topology', `its inputs have the sizes ${known.join(' and ')} at axis ${axis}`);
    }
    return sizes.size === 0 ? 1 : sizes.size === 1 ? [...sizes][0]! : (known[0] ?? null);
  });
}

function merge(combine: (c: LayerContext, names: readonly string[]) => string): LayerConverter {
  return (c, inputs) => {
    if (inputs.length < 2) return c.config.fail('bad-topology', `it has ${inputs.length} input where it merges several`);
    const values = aligned(c, inputs);
    const name = combine(
      c,
      values.map((x) => x.name),
    );
    return [{ ...shaped(name, broadcast(c, values)), mask: commonMask(c, inputs) }];
  };
}

/** Left to right, as TF.js adds and multiplies. */
const fold = (operator: string) => merge((c, names) => names.reduce((a, b) => c.g.binary(operator, a, b)));

const concatenate: LayerConverter = (c, inputs) => {
  const [first] = inputs;
  if (!first || inputs.length < 2) return c.config.fail('bad-topology', 'it joins fewer than two inputs');
  const rank = first.shape.length;
  const axis = axisOf(c, c.config.number('axis', -1), rank);
  if (inputs.some((x) => x.shape.length !== rank))
    c.config.fail('bad-topology', 'its inputs differ in their number of dimensions');
  const sizes = inputs.map((x) => x.shape[axis]!);
  const shape = first.shape.map((d, i) =>
    i !== axis
      ? (d ?? inputs.map((x) => x.shape[i]!).find((other) => other !== null) ?? null)
      : sizes.every((s) => s !== null)
        ? sizes.reduce((a, b) => a + b, 0)
        : null,
  );
  const name = c.g.concat(
    inputs.map((x) => asFloat(c.g, x)),
    axis,
  );
  return [{ ...shaped(name, shape), mask: axis === 1 ? null : commonMask(c, inputs) }];
};

/** Products over one axis of each of two tensors, for every sequence of the batch. */
const dot: LayerConverter = (c, inputs) => {
  const [a, b] = inputs;
  if (!a || !b || inputs.length !== 2) return c.config.fail('bad-topology', `it has ${inputs.length} inputs where it takes two`);
  const list = c.config.integers('axes');
  const [axisA, axisB] = [axisOf(c, list[0]!, a.shape.length), axisOf(c, list[1] ?? list[0]!, b.shape.length)];
  const ranks = [a.shape.length, b.shape.length];
  if (ranks.some((r) => r !== 2 && r !== 3) || axisA === 0 || axisB === 0) {
    c.config.fail(
      'unknown-layer',
      `a dot product of ${ranks.join(' and ')} dimensions over the axes ${list.join(' and ')} is not understood`,
    );
  }
  const normalize = c.config.boolean('normalize', false);
  const operand = (x: Value, axis: number) => {
    const name = asFloat(c.g, x);
    if (!normalize) return name;
    // TF.js: x / sqrt(max(sum x², 1e-7)).
    const squares = c.g.node('ReduceSumSquare', [name], [intsAttribute('axes', [axis]), intAttribute('keepdims', 1)]);
    const limited = c.g.node('Max', [squares, c.g.scalar(1e-7)]);
    return c.g.binary('Div', name, c.g.node('Sqrt', [limited]));
  };
  // As [batch, rest, summed] times [batch, summed, rest].
  const left =
    a.shape.length === 2
      ? c.g.unsqueeze(operand(a, axisA), 1)
      : axisA === 2
        ? operand(a, axisA)
        : c.g.transpose(operand(a, axisA), [0, 2, 1]);
  const right =
    b.shape.length === 2
      ? c.g.unsqueeze(operand(b, axisB), 2)
      : axisB === 1
        ? operand(b, axisB)
        : c.g.transpose(operand(b, axisB), [0, 2, 1]);
  let name = c.g.matMul(left, right);
  const rest = (x: Value, axis: number) => x.shape.filter((_, i) => i !== 0 && i !== axis);
  if (b.shape.length === 2) name = c.g.squeeze(name, 2);
  if (a.shape.length === 2 && b.shape.length === 3) name = c.g.squeeze(name, 1);
  const shape = [a.shape[0]!, ...rest(a, axisA), ...rest(b, axisB)];
  return [shaped(name, shape.length === 1 ? [...shape, 1] : shape)];
};

export const mergeLayers: Readonly<Record<string, LayerConverter>> = {
  Add: fold('Add'),
  Multiply: fold('Mul'),
  Subtract: fold('Sub'),
  Maximum: merge((c, names) => c.g.node('Max', names)),
  Minimum: merge((c, names) => c.g.node('Min', names)),
  Average: merge((c, names) =>
    c.g.binary(
      'Mul',
      names.reduce((a, b) => c.g.binary('Add', a, b)),
      c.g.scalar(1 / names.length),
    ),
  ),
  Concatenate: concatenate,
  Dot: dot,
};
