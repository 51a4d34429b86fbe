import { fromBinary } from '@bufbuild/protobuf';
import { TensorProtoSchema, type TensorProto } from '../checkpoint/onnx/onnx_pb.js';
import { readTensor } from '../checkpoint/onnx/tensor.js';
import { BadInputError } from '../errors.js';
import { badSamples, type NamedArray } from './sampleArray.js';

/** A serialized TensorProto, as in the test data sets that come with ONNX models (input_0.pb). */
export function readTensorProto(bytes: Uint8Array, file: string): NamedArray[] {
  let tensor: TensorProto;
  try {
    tensor = fromBinary(TensorProtoSchema, bytes);
  } catch {
    throw badSamples(`${file} is neither .npy, .npz, .csv, .json nor a serialized ONNX tensor (.pb)`);
  }
  // Any bytes can happen to parse; a tensor says at least of what type it is.
  if (tensor.dataType === 0) throw badSamples(`${file} is neither .npy, .npz, .csv, .json nor a serialized ONNX tensor (.pb)`);
  try {
    return [{ name: tensor.name, where: file, ...readTensor(tensor, new Map()) }];
  } catch (error) {
    throw error instanceof BadInputError ? badSamples(`${file}: ${error.message}`) : error;
  }
}
