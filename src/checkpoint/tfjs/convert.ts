import { create } from '@bufbuild/protobuf';
import { GraphBuilder } from '../onnx/graphBuilder.js';
import {
  GraphProtoSchema,
  ModelProtoSchema,
  NodeProtoSchema,
  OperatorSetIdProtoSchema,
  TensorShapeProto_DimensionSchema,
  TensorShapeProtoSchema,
  TypeProto_TensorSchema,
  TypeProtoSchema,
  ValueInfoProtoSchema,
  type GraphProto,
  type ModelProto,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from '../onnx/onnx_pb.js';
import { DataType } from '../onnx/tensor.js';
import { isObject } from './json.js';
import { shaped, type LayerContext, type LayerConverter, type NodeOrigin, type Value } from './layer.js';
import type { LayerConfig } from './layerConfig.js';
import { activationLayers } from './layers/activations.js';
import { convolutionLayers } from './layers/convolution.js';
import { coreLayers } from './layers/core.js';
import { mergeLayers } from './layers/merge.js';
import { normalizationLayers } from './layers/normalization.js';
import { recurrentLayers } from './layers/recurrent.js';
import { wrapperLayers } from './layers/wrappers.js';
import {
  inputShape,
  isModel,
  type LayerCall,
  type ModelLayer,
  type ModelTopology,
  type TensorReference,
  type TopologyReader,
} from './topology.js';
import type { LayerWeights, WeightStore } from './weights.js';

/** The operator set of the converted model, and the IR version that came with it. */
const operatorSet = 17;
const irVersion = 8n;

const converters: Readonly<Record<string, LayerConverter>> = {
  ...activationLayers,
  ...convolutionLayers,
  ...coreLayers,
  ...mergeLayers,
  ...normalizationLayers,
  ...recurrentLayers,
  ...wrapperLayers,
};

export interface ConvertedModel {
  readonly model: ModelProto & { graph: GraphProto };
  /** For every recurrent node, by name, what it was made from. */
  readonly origins: ReadonlyMap<string, NodeOrigin>;
  /** Inputs and outputs that the original does not have: the states that a caller carries for stateful layers. */
  readonly states: ReadonlySet<string>;
}

/**
 * A layers model as ONNX: every layer becomes the nodes that compute it, recurrent layers become RNN, LSTM and GRU nodes of
 * the same name.
 * @throws BadInputError that names the layer
 */
export function convertModel(config: LayerConfig, reader: TopologyReader, store: WeightStore, producer: string): ConvertedModel {
  return new Conversion(reader, store).run(config, producer);
}

/** Names of all layers of a model, those of nested ones and of wrapped ones too. */
export function layerNames(value: unknown): Set<string> {
  const names = new Set<string>();
  const visit = (v: unknown) => {
    if (Array.isArray(v)) v.forEach(visit);
    else if (isObject(v)) {
      const config = v['config'];
      if (typeof v['class_name'] === 'string' && isObject(config) && typeof config['name'] === 'string')
        names.add(config['name']);
      Object.values(v).forEach(visit);
    }
  };
  visit(value);
  return names;
}

class Conversion {
  private readonly nodes: NodeProto[] = [];
  private readonly inputs: ValueInfoProto[] = [];
  private readonly outputs: ValueInfoProto[] = [];
  private readonly origins = new Map<string, NodeOrigin>();
  private readonly states = new Set<string>();
  private readonly topologies = new Map<LayerConfig, ModelTopology>();
  private readonly builders = new Map<LayerConfig, GraphBuilder>();
  private readonly weights = new Map<LayerConfig, LayerWeights>();

  constructor(
    private readonly reader: TopologyReader,
    private readonly store: WeightStore,
  ) {}

  run(config: LayerConfig, producer: string): ConvertedModel {
    const topology = this.topology(config);
    const inputs = topology.inputs.map((reference) => this.graphInput(topology.layers[reference.layer]!.config));
    this.model(topology, inputs, []).forEach((value, i) => {
      this.output(topology.layers[topology.outputs[i]!.layer]!.config.name, value);
    });
    const initializer: TensorProto[] = [...this.builders.values()].flatMap((g) => g.initializers);
    const graph = create(GraphProtoSchema, {
      name: topology.name,
      node: this.nodes,
      input: this.inputs,
      output: this.outputs,
      initializer,
    });
    const model = create(ModelProtoSchema, {
      irVersion,
      producerName: producer,
      opsetImport: [create(OperatorSetIdProtoSchema, { domain: '', version: BigInt(operatorSet) })],
      graph,
    });
    return { model: Object.assign(model, { graph }), origins: this.origins, states: this.states };
  }

  private topology(config: LayerConfig): ModelTopology {
    const topology = this.topologies.get(config) ?? this.reader.model(config);
    this.topologies.set(config, topology);
    return topology;
  }

  private graphInput(config: LayerConfig): Value {
    const shape = inputShape(config) ?? config.fail('bad-topology', 'it states no shape');
    const type = inputType(config);
    const free = (axis: number) =>
      axis === 0 ? 'batch' : this.inputs.length === 0 && axis === 1 ? 'time' : `${config.name}/${axis}`;
    this.inputs.push(port(config.name, type, shape, free));
    return { name: config.name, shape, type, mask: null, bounds: null };
  }

  private output(name: string, value: Value): void {
    const used = new Set([...this.outputs, ...this.inputs].map((info) => info.name));
    let unique = name;
    for (let i = 1; used.has(unique); i++) unique = `${name}_${i}`;
    this.nodes.push(
      create(NodeProtoSchema, { opType: 'Identity', name: `${unique}/output`, input: [value.name], output: [unique] }),
    );
    this.outputs.push(port(unique, value.type, value.shape, (axis) => (axis === 0 ? 'batch' : '')));
  }

  /** Runs the calls of a model's layers as soon as what they read is there. */
  private model(topology: ModelTopology, inputs: readonly Value[], path: readonly string[]): readonly Value[] {
    const results = topology.layers.map(() => new Map<number, readonly Value[]>());
    topology.inputs.forEach((reference, i) => results[reference.layer]!.set(reference.call, [inputs[i]!]));
    const look = (reference: TensorReference) => results[reference.layer]!.get(reference.call);
    const value = (reference: TensorReference): Value => {
      const { config } = topology.layers[reference.layer]!;
      return (
        look(reference)?.[reference.output] ??
        config.fail('bad-topology', `something reads its output ${reference.output + 1}, which it does not have`)
      );
    };
    let waiting = neededCalls(topology).filter(({ index, n }) => !results[index]!.has(n));
    while (waiting.length > 0) {
      const ready = waiting.filter(({ call }) => [...call.inputs, ...call.initialState].every((r) => look(r) !== undefined));
      if (ready.length === 0) waiting[0]!.layer.config.fail('bad-topology', 'what it reads is made by no layer, or by itself');
      for (const { layer, index, call, n } of ready) {
        results[index]!.set(n, this.layer(layer, call.inputs.map(value), call.initialState.map(value), path, n));
      }
      const done = new Set(ready);
      waiting = waiting.filter((w) => !done.has(w));
    }
    return topology.outputs.map(value);
  }

  private layer(
    { config }: ModelLayer,
    inputs: readonly Value[],
    initialState: readonly Value[],
    path: readonly string[],
    call: number,
  ): readonly Value[] {
    const base = [...path, config.name];
    const name = [...base, ...(call === 0 ? [] : [`call_${call + 1}`])].join('/');
    const g = this.builders.get(config) ?? new GraphBuilder(base.join('/'), operatorSet, DataType.FLOAT);
    this.builders.set(config, g);
    const weights = this.weights.get(config) ?? this.store.of(config, path, wrappedNames(config));
    this.weights.set(config, weights);
    const context: LayerContext = {
      config,
      g,
      weights,
      name,
      initialState,
      inner: (key) => context.describe(config.values[key], `"${key}" of ${config.label}`),
      describe: (value, what) => this.reader.layer(value, what),
      apply: (inner, values) => {
        this.drain(g);
        return this.apply(
          { ...context, config: inner, inner: (key) => context.describe(inner.values[key], `"${key}" of ${inner.label}`) },
          values,
          base,
        );
      },
      origin: (node, origin) => this.origins.set(node, origin),
      stateInput: (state, shape) => {
        this.inputs.push(port(state, DataType.FLOAT, shape, (axis) => (axis === 0 ? 'batch' : '')));
        this.states.add(state);
        return state;
      },
      stateOutput: (state, tensor, shape) => {
        this.drain(g);
        this.states.add(state);
        this.output(state, shaped(tensor, shape));
      },
    };
    const results = this.apply(context, inputs, base);
    this.drain(g);
    return results;
  }

  private apply(context: LayerContext, inputs: readonly Value[], path: readonly string[]): readonly Value[] {
    const { config } = context;
    if (isModel(config)) {
      const topology = this.topology(config);
      if (topology.inputs.length !== inputs.length) {
        config.fail('bad-topology', `it is called with ${inputs.length} inputs where it takes ${topology.inputs.length}`);
      }
      return this.model(topology, inputs, context.name === path.join('/') ? path : [context.name]);
    }
    const converter = Object.hasOwn(converters, config.className) ? converters[config.className] : undefined;
    return converter ? converter(context, inputs) : refuse(config);
  }

  /** Nodes in the order in which the layers made them. */
  private drain(g: GraphBuilder): void {
    this.nodes.push(...g.nodes.splice(0));
  }
}

interface NeededCall {
  readonly layer: ModelLayer;
  readonly index: number;
  readonly call: LayerCall;
  /** Which of the layer's calls. */
  readonly n: number;
}

/** The calls that the outputs depend on. What else a file holds, the operations of a mask for example, is not converted. */
function neededCalls({ layers, outputs }: ModelTopology): NeededCall[] {
  const needed = new Map<string, NeededCall>();
  const left = [...outputs];
  for (let reference = left.pop(); reference; reference = left.pop()) {
    const { layer: index, call: n } = reference;
    const layer = layers[index]!;
    const call = layer.calls[n];
    if (!call || needed.has(`${index}/${n}`)) continue;
    for (const { layer: source } of call.mask) {
      // The mask travels with the value that it belongs to, so it is known here already; one from elsewhere is not.
      const { className } = layers[source]!.config;
      if (!maskOperations.has(className))
        layer.config.fail('unknown-layer', `a mask that a ${className} layer computes is not understood`);
    }
    needed.set(`${index}/${n}`, { layer, index, call, n });
    left.push(...call.inputs, ...call.initialState);
  }
  return [...needed.values()].sort((a, b) => a.index - b.index || a.n - b.n);
}

/** How Keras 3 writes the masks of Embedding and Masking layers. */
const maskOperations = new Set(['NotEqual', 'Any']);

/** Names under which a layer's weights may be stored: TF.js names those of a wrapped layer after the wrapper. */
function wrappedNames(config: LayerConfig): string[] {
  const layer = config.values['layer'];
  const inner = isObject(layer) && isObject(layer['config']) ? layer['config']['name'] : undefined;
  return [config.name, ...(typeof inner === 'string' ? [inner] : [])];
}

function refuse(config: LayerConfig): never {
  if (config.className === 'Lambda') {
    return config.fail(
      'unknown-layer',
      'a Lambda layer is code, which a checkpoint does not hold; write it with standard layers',
    );
  }
  return config.fail('unknown-layer', 'layers of this class are not understood; export the model to ONNX from its framework');
}

function inputType(config: LayerConfig): DataType {
  const dtype = config.values['dtype'] ?? 'float32';
  // Keras 3 writes a policy: {"class_name": "DTypePolicy", "config": {"name": "float32"}}.
  const policy = isObject(dtype) && isObject(dtype['config']) ? dtype['config']['name'] : dtype;
  const name = typeof policy === 'string' ? policy : '';
  if (/float/.test(name)) return DataType.FLOAT;
  if (/^u?int/.test(name)) return DataType.INT32;
  if (name === 'bool') return DataType.BOOL;
  return config.fail('bad-layer', `its dtype is ${JSON.stringify(dtype)}, which is not understood`);
}

/** @param free symbol for a size that is only known at run time; empty: none */
function port(name: string, type: DataType, shape: readonly (number | null)[], free: (axis: number) => string): ValueInfoProto {
  const dim = shape.map((d, axis) => {
    const symbol = d === null ? free(axis) : '';
    if (d !== null) return create(TensorShapeProto_DimensionSchema, { value: { case: 'dimValue', value: BigInt(d) } });
    return create(TensorShapeProto_DimensionSchema, symbol === '' ? {} : { value: { case: 'dimParam', value: symbol } });
  });
  const tensor = create(TypeProto_TensorSchema, { elemType: type, shape: create(TensorShapeProtoSchema, { dim }) });
  return create(ValueInfoProtoSchema, { name, type: create(TypeProtoSchema, { value: { case: 'tensorType', value: tensor } }) });
}
