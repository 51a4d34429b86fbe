import type { Activation } from './activation.js';
import type { Matrix } from './matrix.js';

/**
 * What a recurrent layer reads at one time step, as a small expression over the graph's inputs and the layers below.
 * Exporters put Transpose, Reshape, Dense layers and activations between recurrent layers; three interpreters (values,
 * intervals, deviations: signalValues.ts and ../stability/signalBounds.ts) then need no knowledge of the file format.
 */
export type Signal =
  | SourceSignal
  | { readonly kind: 'layer'; readonly size: number; readonly layer: number }
  | { readonly kind: 'constant'; readonly size: number; readonly value: Float64Array }
  | { readonly kind: 'table'; readonly size: number; readonly source: string; readonly rows: Matrix }
  | { readonly kind: 'select'; readonly size: number; readonly from: Signal; readonly index: Int32Array }
  | { readonly kind: 'concat'; readonly size: number; readonly parts: readonly Signal[] }
  | { readonly kind: 'sum'; readonly size: number; readonly parts: readonly Signal[] }
  | { readonly kind: 'linear'; readonly size: number; readonly from: Signal; readonly matrix: Matrix }
  | { readonly kind: 'scale'; readonly size: number; readonly from: Signal; readonly factors: Float64Array }
  | { readonly kind: 'activation'; readonly size: number; readonly from: Signal; readonly activation: Activation }
  /** Elementwise product of two. */
  | { readonly kind: 'product'; readonly size: number; readonly parts: readonly [Signal, Signal] }
  /** Over all features. */
  | { readonly kind: 'softmax'; readonly size: number; readonly from: Signal; readonly log: boolean }
  | NormalisedSignal;

/** Layer normalisation over all features: scale · (x − mean) / √(variance + epsilon) + shift. */
export interface NormalisedSignal {
  readonly kind: 'normalised';
  readonly size: number;
  readonly from: Signal;
  readonly scale: Float64Array;
  readonly shift: Float64Array;
  readonly epsilon: number;
}

/** Values from outside: an input of the graph, or a tensor behind an operator that is not understood. */
export interface SourceSignal {
  readonly kind: 'source';
  readonly size: number;
  /** The tensor's name in the checkpoint. */
  readonly name: string;
  /** The operator that is not understood; null for an input of the graph. */
  readonly operator: { readonly type: string; readonly node: string } | null;
  /** Values that the operator cannot leave (sine: −1 and 1); null when nothing is known. */
  readonly range: { readonly lower: number; readonly upper: number } | null;
  /** A signal whose range holds the values: what a convolution over time makes of the ranges at all of its taps, for one. */
  readonly within?: Signal;
  /** True when the tensor depends on a recurrent layer, which makes its error unknown. */
  readonly recurrent: boolean;
}

/** Calls `visit` for the signal and everything below it. */
export function walkSignal(signal: Signal, visit: (signal: Signal) => void): void {
  visit(signal);
  switch (signal.kind) {
    case 'select':
    case 'linear':
    case 'scale':
    case 'activation':
    case 'softmax':
    case 'normalised':
      walkSignal(signal.from, visit);
      break;
    case 'concat':
    case 'product':
    case 'sum':
      for (const part of signal.parts) walkSignal(part, visit);
      break;
    default:
  }
}
