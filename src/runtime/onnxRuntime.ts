import * as ort from 'onnxruntime-web/wasm';
import { DataType, halfToNumber, numberToHalf, type Tensor } from '../checkpoint/onnx/tensor.js';
import type { InferenceRuntime, InferenceSession } from './inference.js';

/** ONNX Runtime's WebAssembly build: the same bytes in Node, in a worker thread and in a browser. */

const typeNames: Partial<Record<DataType, ort.Tensor.Type>> = {
  [DataType.FLOAT]: 'float32',
  [DataType.DOUBLE]: 'float64',
  [DataType.FLOAT16]: 'float16',
  [DataType.INT64]: 'int64',
  [DataType.INT32]: 'int32',
  [DataType.INT8]: 'int8',
  [DataType.UINT8]: 'uint8',
  [DataType.BOOL]: 'bool',
};

function toOrt(tensor: Tensor): ort.Tensor {
  const { data, dims } = tensor;
  switch (tensor.type) {
    case DataType.FLOAT:
      return new ort.Tensor('float32', new Float32Array(data), dims);
    case DataType.DOUBLE:
      return new ort.Tensor('float64', new Float64Array(data), dims);
    case DataType.FLOAT16:
      return new ort.Tensor('float16', Uint16Array.from(data, numberToHalf), dims);
    case DataType.INT64:
      return new ort.Tensor(
        'int64',
        BigInt64Array.from(data as unknown as number[], (v: number) => BigInt(v)),
        dims,
      );
    case DataType.INT32:
      return new ort.Tensor('int32', Int32Array.from(data), dims);
    case DataType.BOOL:
      return new ort.Tensor('bool', Uint8Array.from(data), dims);
    default:
      throw new Error(`input of type ${DataType[tensor.type]} is not supported`);
  }
}

function fromOrt(tensor: ort.Tensor): Tensor {
  const type = Object.entries(typeNames).find(([, name]) => name === tensor.type)?.[0];
  const values = tensor.data as ArrayLike<number | bigint>;
  // Newer JavaScript engines give float16 as Float16Array, older ones as its bits.
  const bits = tensor.type === 'float16' && tensor.data instanceof Uint16Array;
  const plain = tensor.data instanceof Float32Array || tensor.data instanceof Float64Array;
  // Float64Array.from is tens of times slower than the constructor, which converts as well.
  const data = plain
    ? new Float64Array(tensor.data as Float32Array)
    : Float64Array.from(values, (v) => (bits ? halfToNumber(Number(v)) : Number(v)));
  return { type: type === undefined ? DataType.UNDEFINED : (Number(type) as DataType), dims: [...tensor.dims], data };
}

/** Measured: 16 000 nodes take 3 s to optimise, 63 000 take 35 s. */
const mostOptimisedNodes = 16_000;

/** @param wasm bytes of ort-wasm-simd-threaded.wasm; read once, when the first model is loaded */
export function createRuntime(wasm: () => Promise<Uint8Array>): InferenceRuntime {
  let ready: Promise<void> | undefined;
  const prepare = async () => {
    // One thread: the bundled build cannot start its own workers from a bundle.
    ort.env.wasm.numThreads = 1;
    // What goes wrong is thrown; printing it besides would only clutter a terminal.
    ort.env.logLevel = 'fatal';
    ort.env.wasm.wasmBinary = await wasm();
  };
  return {
    async load(model, nodes = 0) {
      await (ready ??= prepare());
      const graphOptimizationLevel = nodes > mostOptimisedNodes ? 'disabled' : 'all';
      const session = await ort.InferenceSession.create(model, { logSeverityLevel: 4, graphOptimizationLevel });
      const wrapped: InferenceSession = {
        async run(feeds) {
          const inputs: Record<string, ort.Tensor> = {};
          for (const name of session.inputNames) {
            const tensor = feeds.get(name);
            if (tensor) inputs[name] = toOrt(tensor);
          }
          const outputs = await session.run(inputs, { logSeverityLevel: 4 });
          return new Map(Object.entries(outputs).map(([name, tensor]) => [name, fromOrt(tensor)]));
        },
        release: () => session.release(),
      };
      return wrapped;
    },
  };
}
