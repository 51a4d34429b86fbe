import type { Constants } from './constants.js';
import { isStandard } from './model.js';
import { words } from './operators.js';
import { DataType, tensorProto } from './tensor.js';

const elementwise = words('Add And Cast Equal Greater GreaterOrEqual Identity Less LessOrEqual Mul Not Or Sub Where');

/**
 * The graph input whose values are the indices of an embedding. Exporters wrap negative indices around the table by a
 * comparison and a sum; computing these for every row of the table shows that they change no valid token.
 * @param inputOf the graph input that a tensor holds; null for other tensors
 */
export function tokenInput(
  index: string,
  rows: number,
  constants: Constants,
  inputOf: (tensor: string) => string | null,
): string | null {
  const direct = inputOf(index);
  if (direct !== null) return direct;
  const held = new Set<string>();
  const visit = (name: string): boolean => {
    if (constants.value(name)) return true;
    const node = constants.producer(name);
    if (node && isStandard(node) && elementwise.has(node.opType)) return node.input.every(visit);
    return inputOf(name) !== null && held.add(name).size === 1;
  };
  if (!visit(index)) return null;
  const [tensor] = held;
  if (tensor === undefined) return null;
  const tokens = tensorProto(
    tensor,
    DataType.INT64,
    [rows],
    Float64Array.from({ length: rows }, (_, token) => token),
  );
  const chosen = constants.given(tokens).value(index);
  return chosen?.data.length === rows && chosen.data.every((row, token) => row === token) ? inputOf(tensor) : null;
}
