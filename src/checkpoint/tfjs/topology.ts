import { BadInputError } from '../../errors.js';
import { isObject, type JsonObject, type JsonText } from './json.js';
import { LayerConfig } from './layerConfig.js';

/** A tensor that a layer of the same model makes. */
export interface TensorReference {
  /** Position in the model's list of layers. */
  readonly layer: number;
  /** Which of the layer's calls. */
  readonly call: number;
  /** Which output of the call. */
  readonly output: number;
}

/** One use of a layer. */
export interface LayerCall {
  readonly inputs: readonly TensorReference[];
  /** From Keras' keyword argument; TF.js passes them among the inputs. */
  readonly initialState: readonly TensorReference[];
  /** From Keras' keyword argument: how Keras 3 writes down the mask that an Embedding or Masking layer below makes. */
  readonly mask: readonly TensorReference[];
}

export interface ModelLayer {
  readonly config: LayerConfig;
  readonly calls: readonly LayerCall[];
}

/** A Sequential or Functional model. A Sequential one is a chain that begins with an InputLayer, stated or not. */
export interface ModelTopology {
  readonly name: string;
  readonly layers: readonly ModelLayer[];
  readonly inputs: readonly TensorReference[];
  readonly outputs: readonly TensorReference[];
}

const modelClasses = new Set(['Sequential', 'Functional', 'Model']);

export function isModel(config: LayerConfig): boolean {
  return modelClasses.has(config.className) && (Array.isArray(config.values['layers']) || config.className === 'Sequential');
}

/** Parses the objects of model.json that describe models and layers. */
export class TopologyReader {
  constructor(
    private readonly json: JsonText,
    private readonly kerasMajor: number,
  ) {}

  /** @param what how a message names the object */
  layer(value: unknown, what: string): LayerConfig {
    if (!isObject(value)) throw new BadInputError('bad-topology', `${what} is no object that describes a layer`);
    const { class_name: className, config } = value;
    const place = this.json.placeOf(value);
    if (typeof className !== 'string') throw new BadInputError('bad-topology', `${what} has no class_name`, place);
    // The config of a Keras 2.1 Sequential is the list of its layers.
    const values: JsonObject = Array.isArray(config) ? { layers: config as unknown[] } : isObject(config) ? config : {};
    const name = typeof values['name'] === 'string' ? values['name'] : value['name'];
    return new LayerConfig(className, typeof name === 'string' ? name : className.toLowerCase(), values, place, this.kerasMajor);
  }

  model(config: LayerConfig): ModelTopology {
    const list = config.values['layers'];
    if (!Array.isArray(list) || list.length === 0) return config.fail('bad-topology', 'it has no layers');
    const objects = list.map((value: unknown, i) => ({
      value,
      config: this.layer(value, `layer ${i + 1} of ${config.name}`),
    }));
    return config.className === 'Sequential'
      ? this.sequential(config, objects)
      : this.functional(
          config,
          objects.map((o) => ({ config: o.config, value: o.value as JsonObject })),
        );
  }

  private sequential(model: LayerConfig, objects: readonly { config: LayerConfig }[]): ModelTopology {
    const stated = objects[0]!.config;
    const configs = objects.map((o) => o.config);
    if (stated.className !== 'InputLayer') configs.unshift(this.impliedInput(model, stated));
    return {
      name: model.name,
      layers: configs.map((config, i) => ({
        config,
        calls: [{ inputs: i === 0 ? [] : [{ layer: i - 1, call: 0, output: 0 }], initialState: [], mask: [] }],
      })),
      inputs: [{ layer: 0, call: 0, output: 0 }],
      outputs: [{ layer: configs.length - 1, call: 0, output: 0 }],
    };
  }

  /** The InputLayer that the first layer of a Sequential model stands for. */
  private impliedInput(model: LayerConfig, first: LayerConfig): LayerConfig {
    const shape = inputShape(first) ?? this.nestedInputShape(first) ?? buildShape(model);
    if (!shape) {
      return first.fail(
        'bad-topology',
        'it is the first layer and states no input shape (batch_input_shape); save the model built',
      );
    }
    const dtype = first.values['dtype'] ?? 'float32';
    const values = { batch_input_shape: shape, dtype, name: `${first.name}_input` };
    return new LayerConfig('InputLayer', `${first.name}_input`, values, first.place, this.kerasMajor);
  }

  private nestedInputShape(config: LayerConfig): readonly (number | null)[] | null {
    if (!isModel(config)) return null;
    const nested = this.model(config);
    const first = nested.inputs[0];
    return first ? inputShape(nested.layers[first.layer]!.config) : null;
  }

  private functional(model: LayerConfig, objects: readonly { config: LayerConfig; value: JsonObject }[]): ModelTopology {
    const index = new Map<string, number>();
    objects.forEach(({ config, value }, i) => {
      const name = typeof value['name'] === 'string' ? value['name'] : config.name;
      if (index.has(name)) config.fail('bad-topology', 'another layer of the model has the same name');
      index.set(name, i);
    });
    const resolve = (reference: RawReference): TensorReference => {
      const layer = index.get(reference.layer);
      if (layer === undefined) {
        return model.fail('bad-topology', `a tensor comes from a layer "${reference.layer}" that the model does not have`);
      }
      return { layer, call: reference.call, output: reference.output };
    };
    const layers = objects.map(({ config, value }): ModelLayer => {
      const nodes = Array.isArray(value['inbound_nodes']) ? (value['inbound_nodes'] as unknown[]) : [];
      const calls = nodes.map((node) => {
        const { inputs, initialState, mask } = inboundTensors(node);
        return { inputs: inputs.map(resolve), initialState: initialState.map(resolve), mask: mask.map(resolve) };
      });
      // Keras keeps no inbound node for an input; TF.js a list of none.
      return { config, calls: config.className === 'InputLayer' ? [{ inputs: [], initialState: [], mask: [] }] : calls };
    });
    const inputs = references(model.values['input_layers']).map(resolve);
    const outputs = references(model.values['output_layers']).map(resolve);
    if (outputs.length === 0) model.fail('bad-topology', 'it names no output_layers');
    return renumbered({ name: model.name, layers, inputs, outputs });
  }
}

/** The shape that a first layer states, batch included. */
export function inputShape(config: LayerConfig): (number | null)[] | null {
  const whole = config.shape('batch_input_shape') ?? config.shape('batch_shape');
  if (whole) return whole;
  const inner = config.shape('input_shape');
  if (inner) return [null, ...inner];
  if (config.className === 'Embedding') return [null, config.has('input_length') ? config.size('input_length') : null];
  return config.has('input_dim') && config.className === 'Dense' ? [null, config.size('input_dim')] : null;
}

function buildShape(model: LayerConfig): (number | null)[] | null {
  return model.shape('build_input_shape');
}

interface RawReference {
  readonly layer: string;
  readonly call: number;
  readonly output: number;
}

function asReference(value: unknown): RawReference | null {
  if (!Array.isArray(value)) return null;
  const [layer, call, output] = value as unknown[];
  if (typeof layer !== 'string' || !Number.isInteger(call) || !Number.isInteger(output)) return null;
  return { layer, call: call as number, output: output as number };
}

/** Keras 3: {"class_name": "__keras_tensor__", "config": {"keras_history": [layer, call, output]}}. */
function kerasTensor(value: JsonObject): RawReference | null {
  const config = value['config'];
  return isObject(config) ? asReference(config['keras_history']) : null;
}

/** All tensors that a nested list or object of references names, in order. */
function references(value: unknown): RawReference[] {
  const single = asReference(value) ?? (isObject(value) ? kerasTensor(value) : null);
  if (single) return [single];
  if (Array.isArray(value)) return value.flatMap(references);
  return isObject(value) ? Object.values(value).flatMap(references) : [];
}

/** One inbound node: Keras 2 and TF.js list [layer, call, output, keywords] for each input, Keras 3 has {args, kwargs}. */
function inboundTensors(node: unknown): { inputs: RawReference[]; initialState: RawReference[]; mask: RawReference[] } {
  if (isObject(node)) {
    const keywords = isObject(node['kwargs']) ? node['kwargs'] : {};
    return {
      inputs: references(node['args']),
      initialState: references(keywords['initial_state']),
      mask: references(keywords['mask']),
    };
  }
  const entries: unknown[] = asReference(node) ? [node] : Array.isArray(node) ? node : [];
  const keywords = entries.map((entry) => (Array.isArray(entry) && isObject(entry[3]) ? entry[3] : {}));
  return {
    inputs: entries.flatMap((entry) => {
      const reference = asReference(entry);
      return reference ? [reference] : references(entry);
    }),
    initialState: keywords.flatMap((k) => references(k['initial_state'])),
    mask: keywords.flatMap((k) => references(k['mask'])),
  };
}

/**
 * A nested model counts its own construction as its first call, so its calls in the outer model may be numbered from one.
 * Afterwards every layer's calls count from zero.
 */
function renumbered(model: ModelTopology): ModelTopology {
  const all = [
    ...model.layers.flatMap((l) => l.calls.flatMap((c) => [...c.inputs, ...c.initialState])),
    ...model.inputs,
    ...model.outputs,
  ];
  const shift = model.layers.map((layer, i) => {
    const largest = Math.max(0, ...all.filter((r) => r.layer === i).map((r) => r.call));
    return isModel(layer.config) ? Math.max(0, largest - (layer.calls.length - 1)) : 0;
  });
  const move = (r: TensorReference): TensorReference => ({ ...r, call: Math.max(0, r.call - shift[r.layer]!) });
  return {
    ...model,
    layers: model.layers.map(({ config, calls }) => ({
      config,
      calls: calls.map((c) => ({ ...c, inputs: c.inputs.map(move), initialState: c.initialState.map(move) })),
    })),
    inputs: model.inputs.map(move),
    outputs: model.outputs.map(move),
  };
}
