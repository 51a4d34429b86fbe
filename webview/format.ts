/** Numbers for people. Pure, so the tests need no page. */

const integer = new Intl.NumberFormat('en');

/** Three significant digits; very small and large numbers as 1.2 × 10⁻⁴. */
export function number(value: number | null): string {
  if (value === null) return '–';
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size >= 1e-3 && size < 1e5) return trimmed(value.toPrecision(3));
  const [mantissa, exponent] = value.toExponential(1).split('e') as [string, string];
  const power = `10${superscript(Number(exponent))}`;
  const factor = mantissa.replace(/\.0$/, '');
  if (factor === '1') return power;
  return `${factor.replace('-', '−')} × ${power}`;
}

/** Lipschitz constants are compared with 1, so rounding must never carry one across it. */
export function lambda(value: number | null): string {
  if (value === null) return '–';
  const text = value >= 1e4 ? number(value) : value.toFixed(3);
  if (value < 1 && text === '1.000') return '0.999…';
  return value > 1 && text === '1.000' ? '1.000…' : text;
}

export function count(value: number): string {
  return integer.format(value);
}

export function bytes(size: number): string {
  const units = ['bytes', 'KB', 'MB', 'GB'];
  let unit = 0;
  let value = size;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return unit === 0 ? `${count(size)} bytes` : `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

export function percent(share: number): string {
  return `${trimmed((share * 100).toPrecision(4))} %`;
}

/** One bound for all inputs, or the widest of one per input. */
export function range(lower: number | number[], upper: number | number[]): string {
  if (typeof lower === 'number' && typeof upper === 'number') return `[${number(lower)}, ${number(upper)}]`;
  const lowest = Math.min(...[lower].flat());
  const highest = Math.max(...[upper].flat());
  return `within [${number(lowest)}, ${number(highest)}], one range per input`;
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

export function superscript(exponent: number): string {
  const digits = '⁰¹²³⁴⁵⁶⁷⁸⁹';
  return String(exponent).replace(/[-\d]/g, (sign) => (sign === '-' ? '⁻' : digits[Number(sign)]!));
}

function trimmed(text: string): string {
  const plain = text.includes('e') ? String(Number(text)) : text;
  return (plain.includes('.') ? plain.replace(/\.?0+$/, '') : plain).replace('-', '−');
}
