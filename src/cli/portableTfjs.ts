import * as core from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import * as layers from '@tensorflow/tfjs-layers';
import type { TfjsApi } from './tfjsReference.js';

/** TF.js on its JavaScript backend. A bundle of its own, dist/tfjs.js, which the command line loads when it first needs it. */
export function portableTfjs(): TfjsApi {
  // Without this it advertises its native build on stderr.
  core.enableProdMode();
  return {
    version: layers.version_layers,
    backend: 'cpu',
    ready: () => core.setBackend('cpu'),
    tensor: core.tensor,
    dispose: core.dispose,
    fromMemory: core.io.fromMemory,
    loadLayersModel: layers.loadLayersModel,
  };
}
