import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { BadInputError } from '../../errors.js';
import { isLfsPointer } from '../contents.js';
import { ModelProtoSchema, type GraphProto, type ModelProto, type NodeProto } from './onnx_pb.js';

export type ModelProtoWithGraph = ModelProto & { graph: GraphProto };

/** Bytes to ModelProto and back. A file is judged by its content; what it is instead is said in words. */

const foreignFormats: readonly { starts: readonly number[]; is: string }[] = [
  { starts: [0x50, 0x4b, 0x03, 0x04], is: 'a zip archive (a PyTorch or Keras checkpoint?); export it to ONNX first' },
  { starts: [0x89, 0x48, 0x44, 0x46], is: 'an HDF5 file (a Keras checkpoint?); convert it to ONNX first' },
  { starts: [0x80, 0x02], is: 'a Python pickle (a PyTorch checkpoint?); export it to ONNX first' },
  { starts: [0x1f, 0x8b], is: 'a gzip archive; unpack it first' },
  { starts: [0x3c], is: 'an HTML or XML page, perhaps saved in place of the file' },
];

function startsWith(bytes: Uint8Array, start: readonly number[]): boolean {
  return start.every((byte, i) => bytes[i] === byte);
}

/** @throws BadInputError with the codes empty-file, git-lfs-pointer, not-onnx or damaged-file */
export function readModel(bytes: Uint8Array): ModelProto & { graph: GraphProto } {
  if (bytes.length === 0) throw new BadInputError('empty-file', 'the file is empty');
  if (isLfsPointer(bytes)) {
    throw new BadInputError('git-lfs-pointer', 'this is a Git LFS pointer, not the model; run `git lfs pull` to fetch the model');
  }
  const foreign = foreignFormats.find(({ starts }) => startsWith(bytes, starts));
  if (foreign) throw new BadInputError('not-onnx', `not an ONNX file: this is ${foreign.is}`);
  if (new TextDecoder('latin1').decode(bytes.subarray(4, 8)) === 'TFL3') {
    throw new BadInputError('not-onnx', 'not an ONNX file: this is a TensorFlow Lite model; convert it to ONNX first');
  }
  let model: ModelProto;
  try {
    model = fromBinary(ModelProtoSchema, bytes);
  } catch {
    // Every ONNX writer starts with ir_version, field 1, a small number.
    if (bytes[0] === 0x08 && bytes[1]! < 64) {
      throw new BadInputError(
        'damaged-file',
        `the ONNX file is truncated or damaged (${bytes.length} bytes could be read); copy or export it again`,
      );
    }
    throw new BadInputError('not-onnx', 'not an ONNX file: its bytes are no ModelProto');
  }
  const graph = model.graph;
  if (!graph || (graph.node.length === 0 && model.irVersion === 0n)) {
    throw new BadInputError('not-onnx', 'not an ONNX file: it holds no graph');
  }
  if (model.irVersion < 1n || model.irVersion > 100n) {
    throw new BadInputError('not-onnx', `not an ONNX file: its IR version reads ${model.irVersion}`);
  }
  return Object.assign(model, { graph });
}

export function writeModel(model: ModelProto): Uint8Array {
  return toBinary(ModelProtoSchema, model);
}

/** Version of the default operator set, `ai.onnx`; 1 where the file names none. */
export function opsetOf(model: ModelProto): number {
  const entry = model.opsetImport.find((o) => o.domain === '' || o.domain === 'ai.onnx');
  return entry ? Number(entry.version) : 1;
}

/** True for ONNX's own operators. */
export function isStandard(node: NodeProto): boolean {
  return node.domain === '' || node.domain === 'ai.onnx';
}

/** How messages name a node: its own name, or its operator and first output where the exporter left the name empty. */
export function nodeLabel(node: NodeProto): string {
  return node.name !== '' ? node.name : `${node.opType} → ${node.output.find((o) => o !== '') ?? '?'}`;
}
