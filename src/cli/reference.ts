import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { BadInputError } from '../errors.js';
import type { ReferenceRuntime } from '../runtime/reference.js';
import type * as portable from './portableTfjs.js';
import { tfjsReference, type TfjsApi } from './tfjsReference.js';

export type TfjsBackend = 'cpu' | 'node';

/** TF.js is four times the rest of the command line, so it is loaded with the first model that asks for it. */
export function lazyReference(backend: TfjsBackend): ReferenceRuntime {
  return { load: async (files) => (await startTfjs(backend)).load(files) };
}

async function startTfjs(backend: TfjsBackend): Promise<ReferenceRuntime> {
  // Only one of the two: TF.js keeps its state in globals, which two copies would share.
  return tfjsReference(await (backend === 'cpu' ? bundledTfjs() : nativeTfjs()));
}

async function bundledTfjs(): Promise<TfjsApi> {
  // Its own bundle beside this one; esbuild must not pull it in here.
  const bundle = new URL('tfjs.js', import.meta.url).href;
  return ((await import(bundle)) as typeof portable).portableTfjs();
}

type NativeTfjs = Omit<TfjsApi, 'version' | 'backend' | 'fromMemory'> & {
  version: Record<string, string>;
  io: { fromMemory: TfjsApi['fromMemory'] };
};

/** @tensorflow/tfjs-node downloads its library when it is installed, so it is the user's to install: here or globally beside us. */
async function nativeTfjs(): Promise<TfjsApi> {
  const places = [join(process.cwd(), 'package.json'), import.meta.url];
  for (const place of places) {
    let file: string;
    try {
      file = createRequire(place).resolve('@tensorflow/tfjs-node');
    } catch {
      continue;
    }
    try {
      const { default: tf } = (await import(pathToFileURL(file).href)) as { default: NativeTfjs };
      return {
        version: tf.version['tfjs-layers'] ?? tf.version['tfjs'] ?? '',
        backend: 'tfjs-node',
        ready: tf.ready,
        tensor: tf.tensor,
        dispose: tf.dispose,
        fromMemory: tf.io.fromMemory,
        loadLayersModel: tf.loadLayersModel,
      };
    } catch (error) {
      const reason = (error instanceof Error ? error.message : String(error)).split('\n')[0];
      throw new BadInputError(
        'no-tfjs-node',
        `--tfjs-backend node: @tensorflow/tfjs-node does not start (${reason}); leave the option out`,
      );
    }
  }
  throw new BadInputError(
    'no-tfjs-node',
    '--tfjs-backend node needs @tensorflow/tfjs-node, which is not installed here; run `npm install @tensorflow/tfjs-node` or leave the option out',
  );
}
