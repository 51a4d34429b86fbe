import type * as core from '@tensorflow/tfjs-core';
import type * as layers from '@tensorflow/tfjs-layers';
import { DataType, elementCount, type Tensor } from '../checkpoint/onnx/tensor.js';
import type { CheckpointFiles } from '../jobs/jobs.js';
import type { ReferenceRuntime } from '../runtime/reference.js';

/** TF.js, wherever it comes from, running a layers model as it is. */

/** The part of TF.js that is used; both its packages for browsers and @tensorflow/tfjs-node have it. */
export interface TfjsApi {
  readonly version: string;
  readonly backend: string;
  readonly ready: () => Promise<unknown>;
  readonly tensor: typeof core.tensor;
  readonly dispose: typeof core.dispose;
  readonly fromMemory: typeof core.io.fromMemory;
  readonly loadLayersModel: typeof layers.loadLayersModel;
}

interface ModelJson extends core.io.ModelJSON {
  modelTopology: object;
}

/** Reads the files as TF.js' own loaders do: nothing of our reader is used. */
async function artifacts(files: CheckpointFiles): Promise<core.io.ModelArtifacts> {
  const json = JSON.parse(new TextDecoder().decode(await files.read())) as ModelJson;
  const shards: Uint8Array[] = [];
  for (const path of json.weightsManifest.flatMap((group) => group.paths)) {
    const shard = await files.readSibling(path);
    if (!shard) throw new Error(`${path} is missing`);
    shards.push(shard);
  }
  const data = new Uint8Array(shards.reduce((sum, s) => sum + s.length, 0));
  let offset = 0;
  for (const shard of shards) {
    data.set(shard, offset);
    offset += shard.length;
  }
  return {
    modelTopology: json.modelTopology,
    weightSpecs: json.weightsManifest.flatMap((group) => group.weights),
    weightData: data.buffer,
  };
}

export function tfjsReference(tf: TfjsApi): ReferenceRuntime {
  return {
    async load(files) {
      await tf.ready();
      const model = await tf.loadLayersModel(tf.fromMemory(await artifacts(files)));
      return {
        name: `TF.js ${tf.version} (${tf.backend})`,
        async run(inputs) {
          const tensors = inputs.map(({ type, dims, data }) =>
            type === DataType.INT32
              ? tf.tensor(Int32Array.from(data), [...dims], 'int32')
              : tf.tensor(Float32Array.from(data), [...dims], type === DataType.BOOL ? 'bool' : 'float32'),
          );
          // A stateful layer would go on from the run before.
          model.resetStates();
          // Sequences of one model have one length; all of them make one batch.
          const outputs = [
            model.predict(tensors.length === 1 ? tensors[0]! : tensors, { batchSize: tensors[0]?.shape[0] ?? 1 }),
          ].flat();
          const results: Tensor[] = [];
          for (const output of outputs) {
            const type = output.dtype === 'int32' ? DataType.INT32 : DataType.FLOAT;
            results.push({ type, dims: output.shape, data: Float64Array.from(await output.data()) });
          }
          tf.dispose([...tensors, ...outputs]);
          if (results.some((r) => r.data.length !== elementCount(r.dims)))
            throw new Error('TF.js gave an output without its numbers');
          return results;
        },
        release: () => model.dispose(),
      };
    },
  };
}
