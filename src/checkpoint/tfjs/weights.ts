import type { Tensor } from '../onnx/tensor.js';
import type { LayerConfig } from './layerConfig.js';
import type { StoredWeight } from './shards.js';

/**
 * Finds a layer's weights by name. Writers disagree about the names: TF.js has layer/kernel, Keras 2 layer/cell/kernel with or
 * without the model in front, Keras 3 may number them (layer/vars/0). What all agree on is the order within a layer, the last
 * part of the name, and the shape.
 */
export class WeightStore {
  private readonly weights: readonly (StoredWeight & { readonly segments: readonly string[] })[];
  private readonly taken = new Set<StoredWeight>();

  /** @param layerNames names of all layers, nested ones too */
  constructor(
    weights: readonly StoredWeight[],
    private readonly layerNames: ReadonlySet<string>,
  ) {
    this.weights = weights.map((w) => ({ ...w, segments: w.name.replace(/:\d+$/, '').split('/') }));
  }

  /**
   * @param path names of the models around the layer, the outermost first
   * @param names the layer's name, and that of the layer inside a wrapper
   */
  of(config: LayerConfig, path: readonly string[], names: readonly string[]): LayerWeights {
    return new LayerWeights(config, this.owned(path, names), this.taken);
  }

  private owned(path: readonly string[], names: readonly string[]): readonly OwnedWeight[] {
    for (const name of names) {
      const found = this.weights.flatMap((weight) => {
        const at = positionOf(name, weight.segments);
        if (at < 0) return [];
        return [{ weight, at, models: path.filter((model) => positionOf(model, weight.segments) >= 0).length }];
      });
      const models = Math.max(...found.map((f) => f.models));
      const nearest = found.filter((f) => f.models === models);
      const first = Math.min(...nearest.map((f) => f.at));
      if (nearest.length > 0) return nearest.filter((f) => f.at === first).map((f) => f.weight);
    }
    // A file whose names lost the layers: what no layer is named in belongs to the layers in order.
    return this.weights.filter((w) => ![...this.layerNames].some((name) => positionOf(name, w.segments) >= 0));
  }
}

/** Where a layer's name, which may itself hold slashes, begins in front of the last segment; -1 where it does not occur. */
function positionOf(name: string, segments: readonly string[]): number {
  const parts = name.split('/');
  for (let i = 0; i + parts.length < segments.length; i++) {
    // Keras 3 writes the names of private attributes with a leading underscore.
    if (parts.every((part, j) => segments[i + j]!.replace(/^_/, '') === part.replace(/^_/, ''))) return i;
  }
  return -1;
}

type OwnedWeight = StoredWeight & { readonly segments: readonly string[] };

export class LayerWeights {
  private readonly known = new Map<string, OwnedWeight>();

  constructor(
    private readonly config: LayerConfig,
    private readonly owned: readonly OwnedWeight[],
    private readonly taken: Set<StoredWeight>,
  ) {}

  /**
   * A weight of the layer. The same part and role give the same weight, however often the layer is called.
   * @param roles all weights of the part in Keras' order, for names that are numbers
   * @param shapes the shapes that fit
   * @param part forward or backward, where a layer has both
   * @param cell which of the cells of a stack; they come in order
   * @throws BadInputError when there is none, none of a fitting shape, or numbers in it are not finite
   */
  take(role: string, roles: readonly string[], shapes: readonly (readonly number[])[], part = '', cell = 0): Tensor {
    const key = `${part}/${cell}/${role}`;
    const weight = this.known.get(key) ?? this.find(role, roles, shapes, part);
    this.known.set(key, weight);
    this.taken.add(weight);
    const tensor = weight.read();
    const bad = tensor.data.findIndex((v) => !Number.isFinite(v));
    if (bad >= 0) {
      this.config.fail('weights-not-finite', `its weight ${weight.name} holds ${tensor.data[bad]} at position ${bad}`);
    }
    return tensor;
  }

  private find(role: string, roles: readonly string[], shapes: readonly (readonly number[])[], part: string): OwnedWeight {
    const inPart = this.owned.filter((w) => part !== '' && w.segments.some((s) => s.startsWith(`${part}_`)));
    const pool = (inPart.length > 0 ? inPart : this.owned).filter((w) => !this.taken.has(w));
    const named = pool.filter((w) => {
      const last = w.segments.at(-1)!;
      return last === role || (/^\d+$/.test(last) && roles[Number(last)] === role);
    });
    const fits = (w: OwnedWeight) => shapes.some((shape) => sameShape(shape, w.dims));
    const found = named.find(fits);
    if (found) return found;
    const written = (dims: readonly number[]) => `[${dims.join(', ')}]`;
    const [other] = named;
    if (other) {
      return this.config.fail(
        'bad-shape',
        `its weight ${other.name} has shape ${written(other.dims)} where ${shapes.map(written).join(' or ')} is needed`,
      );
    }
    return this.config.fail('missing-weight', `its weight "${role}" is not among the weights of the manifest`);
  }
}

function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((d, i) => d === b[i]);
}
