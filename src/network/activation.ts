/**
 * The activations that ONNX allows in RNN, LSTM and GRU nodes, as pieces on which both the value and the slope are monotone.
 * One description serves the cell equations, the interval bounds and the slope bounds of the certificates.
 */

export const activationNames = [
  'Affine',
  'Elu',
  'HardSigmoid',
  'LeakyRelu',
  'Relu',
  'ScaledTanh',
  'Sigmoid',
  'Softplus',
  'Softsign',
  'Tanh',
  'ThresholdedRelu',
] as const;
export type ActivationName = (typeof activationNames)[number];

interface Piece {
  /** The piece is [from, to]; neighbours share their border. */
  from: number;
  to: number;
  value(x: number): number;
  slope(x: number): number;
}

export interface Activation {
  readonly name: ActivationName;
  readonly alpha: number;
  readonly beta: number;
  value(x: number): number;
  /** The derivative; at a kink the one from the left. */
  slope(x: number): number;
  readonly pieces: readonly Piece[];
}

/** Defaults of ONNX's operators of the same name; they hold where activation_alpha or activation_beta is too short. */
const defaults: Record<ActivationName, { alpha?: number; beta?: number }> = {
  Affine: { alpha: 1, beta: 0 },
  Elu: { alpha: 1 },
  HardSigmoid: { alpha: 0.2, beta: 0.5 },
  LeakyRelu: { alpha: 0.01 },
  Relu: {},
  ScaledTanh: { alpha: 1, beta: 1 },
  Sigmoid: {},
  Softplus: {},
  Softsign: {},
  Tanh: {},
  ThresholdedRelu: { alpha: 1 },
};

export function takesAlpha(name: ActivationName): boolean {
  return defaults[name].alpha !== undefined;
}

export function takesBeta(name: ActivationName): boolean {
  return defaults[name].beta !== undefined;
}

export function sigmoid(x: number): number {
  return x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x));
}

const logistic = (x: number) => sigmoid(x);
const logisticSlope = (x: number) => {
  const y = Math.exp(-Math.abs(x));
  return y / ((1 + y) * (1 + y));
};
const tanhSlope = (x: number) => {
  // 1 − tanh² cancels for large |x|; 4e/(1+e)² with e = exp(−2|x|) is the same number and does not.
  const e = Math.exp(-2 * Math.abs(x));
  return (4 * e) / ((1 + e) * (1 + e));
};
const zero = () => 0;
const one = () => 1;
const identity = (x: number) => x;

/** Splits the line at `border`, for functions whose slope turns there but whose formula does not change. */
function bothSides(border: number, value: (x: number) => number, slope: (x: number) => number): Piece[] {
  return [
    { from: -Infinity, to: border, value, slope },
    { from: border, to: Infinity, value, slope },
  ];
}

function piecesOf(name: ActivationName, alpha: number, beta: number): Piece[] {
  switch (name) {
    case 'Affine':
      return [{ from: -Infinity, to: Infinity, value: (x) => alpha * x + beta, slope: () => alpha }];
    case 'Elu':
      return [
        { from: -Infinity, to: 0, value: (x) => alpha * Math.expm1(x), slope: (x) => alpha * Math.exp(x) },
        { from: 0, to: Infinity, value: identity, slope: one },
      ];
    case 'HardSigmoid': {
      if (alpha === 0) {
        const constant = Math.min(1, Math.max(0, beta));
        return [{ from: -Infinity, to: Infinity, value: () => constant, slope: zero }];
      }
      const ends = [-beta / alpha, (1 - beta) / alpha] as const;
      const [left, right] = alpha > 0 ? ends : [ends[1], ends[0]];
      return [
        { from: -Infinity, to: left, value: alpha > 0 ? zero : one, slope: zero },
        { from: left, to: right, value: (x) => Math.min(1, Math.max(0, alpha * x + beta)), slope: () => alpha },
        { from: right, to: Infinity, value: alpha > 0 ? one : zero, slope: zero },
      ];
    }
    case 'LeakyRelu':
      return [
        { from: -Infinity, to: 0, value: (x) => alpha * x, slope: () => alpha },
        { from: 0, to: Infinity, value: identity, slope: one },
      ];
    case 'Relu':
      return [
        { from: -Infinity, to: 0, value: zero, slope: zero },
        { from: 0, to: Infinity, value: identity, slope: one },
      ];
    case 'ScaledTanh':
      return bothSides(
        0,
        (x) => alpha * Math.tanh(beta * x),
        (x) => alpha * beta * tanhSlope(beta * x),
      );
    case 'Sigmoid':
      return bothSides(0, logistic, logisticSlope);
    case 'Softplus':
      return bothSides(0, (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))), logistic);
    case 'Softsign':
      return bothSides(
        0,
        (x) => (Math.abs(x) === Infinity ? Math.sign(x) : x / (1 + Math.abs(x))),
        (x) => 1 / (1 + Math.abs(x)) ** 2,
      );
    case 'Tanh':
      return bothSides(0, Math.tanh, tanhSlope);
    case 'ThresholdedRelu':
      return [
        { from: -Infinity, to: alpha, value: zero, slope: zero },
        { from: alpha, to: Infinity, value: identity, slope: one },
      ];
  }
}

/** @param alpha, beta absent: the default of ONNX's operator */
export function activation(name: ActivationName, alpha?: number, beta?: number): Activation {
  const a = alpha ?? defaults[name].alpha ?? 0;
  const b = beta ?? defaults[name].beta ?? 0;
  const pieces = piecesOf(name, a, b);
  const at = (x: number) => pieces.find((piece) => x <= piece.to);
  const value = (x: number): number => at(x)?.value(x) ?? NaN;
  const slope = (x: number): number => at(x)?.slope(x) ?? NaN;
  return { name, alpha: a, beta: b, value, slope, pieces };
}
