import { withOutputs } from '../checkpoint/onnx/exposed.js';
import { writeModel } from '../checkpoint/onnx/model.js';
import { elementCount, type Tensor } from '../checkpoint/onnx/tensor.js';
import { refusedBy, type InferenceRuntime, type InferenceSession } from '../runtime/inference.js';
import type { Port, StreamingModel } from './streamingModel.js';

/** One frame: the values of every input that is no state, in row-major order. */
export type Frame = ReadonlyMap<string, Float64Array>;

/** All states behind each other, in the order of the model's states. */
export type State = Float64Array;

export interface Step {
  readonly state: State;
  /** The observed tensors behind each other. */
  readonly seen: Float64Array;
}

/** The state map s′, y = F(s, x) of a streaming model, evaluated by ONNX Runtime whatever its operators are. */
export class StateMap {
  readonly stateSize: number;

  private constructor(
    private readonly streaming: StreamingModel,
    private readonly session: InferenceSession,
    private readonly observed: readonly string[],
  ) {
    this.stateSize = streaming.states.reduce((n, s) => n + elementCount(s.dims), 0);
  }

  /**
   * @param observed tensors to look at besides the states: outputs, or tensors inside
   * @throws BadInputError where ONNX Runtime refuses the model
   */
  static async load(streaming: StreamingModel, observed: readonly string[], runtime: InferenceRuntime): Promise<StateMap> {
    const model = writeModel(withOutputs(streaming.model, observed));
    const session = await runtime.load(model).catch(refused);
    return new StateMap(streaming, session, observed);
  }

  /** One state tensor's values. */
  part(state: State, index: number): Float64Array {
    const sizes = this.streaming.states.map((s) => elementCount(s.dims));
    const from = sizes.slice(0, index).reduce((a, b) => a + b, 0);
    return state.subarray(from, from + sizes[index]!);
  }

  initial(): State {
    return initialState(this.streaming);
  }

  async step(state: State, frame: Frame): Promise<Step> {
    const feeds = new Map<string, Tensor>();
    const feed = ({ name, type, dims }: Port, data: Float64Array) => feeds.set(name, { type, dims, data });
    let offset = 0;
    for (const s of this.streaming.states) {
      const size = elementCount(s.dims);
      feed({ ...s, name: s.input }, state.subarray(offset, offset + size));
      offset += size;
    }
    for (const port of this.streaming.frames) feed(port, frame.get(port.name)!);
    const results = await this.session.run(feeds).catch(refused);
    return {
      state: joined(this.streaming.states.map((s) => results.get(s.output)!.data)),
      seen: joined(this.observed.map((name) => results.get(name)!.data)),
    };
  }

  release(): Promise<void> {
    return this.session.release();
  }
}

/** The state from which every stream starts. */
export function initialState({ states }: StreamingModel): State {
  return joined(states.map((s) => s.initial?.slice() ?? new Float64Array(elementCount(s.dims))));
}

const refused = (error: unknown) => refusedBy(error, 'nothing can be measured');

export function joined(parts: readonly Float64Array[]): Float64Array {
  if (parts.length === 1) return parts[0]!;
  const out = new Float64Array(parts.reduce((n, p) => n + p.length, 0));
  let offset = 0;
  for (const part of parts) {
    out.set(part, offset);
    offset += part.length;
  }
  return out;
}
