import { npy, npz } from '../../examples/training/npz.js';
import { framesOf, spectrum, speech } from './speech.js';

/** Published streaming models, with what they hear when they hear speech. */

/** Longest length measured, and frames of a stream. */
export const maxLength = 96;
export const frames = maxLength + 40;
export const streams = 3;

export interface Published {
  readonly name: string;
  readonly path: readonly string[];
  readonly set?: Readonly<Record<string, string>>;
  readonly sampleRate: number;
  readonly input: string;
  /** Shape of one frame, and the frames of a signal. */
  readonly frame: readonly number[];
  cut(signal: Float64Array): Float64Array[];
  readonly states: readonly string[];
  readonly cells: Readonly<Record<string, number>>;
  /** The largest output on speech is above this: a probability of voice, a mask, a sample of clean audio. */
  readonly loudest: number;
  /** Frames of the exported model, where a deep graph takes minutes to load. */
  readonly exported: number;
}

const hann = (size: number) =>
  Float64Array.from({ length: size }, (_, i) => Math.sqrt(0.5 - 0.5 * Math.cos((2 * Math.PI * i) / size)));
const windowed = (frame: Float64Array) => {
  const window = hann(frame.length);
  return frame.map((v, i) => v * window[i]!);
};
const magnitudes = (s: Float64Array) =>
  Float64Array.from({ length: s.length / 2 }, (_, i) => Math.hypot(s[2 * i]!, s[2 * i + 1]!));

const lstm = 'packed of 1';
export const published: readonly Published[] = [
  {
    name: 'silero-vad at 16 kHz',
    path: ['silero-vad', 'silero_vad.onnx'],
    // Its callers put the end of the chunk before in front of every chunk, without which it hears no voice.
    set: { sr: '16000', input: '1x576' },
    sampleRate: 16000,
    input: 'input',
    frame: [1, 576],
    cut: (s) => framesOf(s, 576, 512),
    states: [`state=stateN ${lstm}`],
    cells: { lstm: 1 },
    loudest: 0.9,
    exported: 48,
  },
  {
    name: 'silero-vad at 8 kHz',
    path: ['silero-vad', 'silero_vad.onnx'],
    set: { sr: '8000', input: '1x288' },
    sampleRate: 8000,
    input: 'input',
    frame: [1, 288],
    cut: (s) => framesOf(s, 288, 256),
    states: [`state=stateN ${lstm}`],
    cells: { lstm: 1 },
    loudest: 0.9,
    exported: 48,
  },
  {
    name: 'silero-vad with one sample rate',
    path: ['silero-vad', 'silero_vad_openvino_16k.onnx'],
    sampleRate: 16000,
    input: 'input',
    frame: [1, 576],
    cut: (s) => framesOf(s, 576, 512),
    states: [`state=stateN ${lstm}`],
    cells: { lstm: 1 },
    loudest: 0.9,
    exported: 48,
  },
  {
    name: 'dtln model_1',
    path: ['dtln', 'model_1.onnx'],
    sampleRate: 16000,
    input: 'input_2',
    frame: [1, 1, 257],
    cut: (s) => framesOf(s, 512, 128).map((f) => magnitudes(spectrum(f))),
    states: ['input_3=tf_op_layer_stack_2 packed of 2'],
    cells: { lstm: 2 },
    loudest: 0.1,
    exported: 48,
  },
  {
    name: 'dtln model_2, cells in products and sums',
    path: ['dtln', 'model_2.onnx'],
    sampleRate: 16000,
    input: 'input_4',
    frame: [1, 1, 512],
    cut: (s) => framesOf(s, 512, 128),
    states: ['input_5=tf_op_layer_stack_5 packed of 2'],
    cells: { lstm: 2 },
    loudest: 0.1,
    exported: 48,
  },
  {
    name: 'gtcrn',
    path: ['gtcrn', 'gtcrn_simple.onnx'],
    sampleRate: 16000,
    input: 'mix',
    frame: [1, 257, 1, 2],
    cut: (s) => framesOf(s, 512, 256).map((f) => spectrum(windowed(f))),
    states: [
      'conv_cache=conv_cache_out cache of 0',
      'tra_cache=tra_cache_out hidden of 6',
      'inter_cache=inter_cache_out hidden of 4',
    ],
    cells: { gru: 14 },
    loudest: 0.1,
    exported: 3,
  },
];

/** The samples file of a model: [streams, frames, one frame]. */
export function samplesOf({ sampleRate, frame, cut, input }: Published): Uint8Array {
  const all = Array.from({ length: streams }, (_, n) => {
    let seconds = 2;
    let cutFrames = cut(speech(100 + n, sampleRate, seconds));
    while (cutFrames.length < frames) cutFrames = cut(speech(100 + n, sampleRate, (seconds *= 1.5)));
    return cutFrames.slice(0, frames);
  });
  const size = frame.reduce((a, b) => a * b, 1);
  const data = new Float32Array(streams * frames * size);
  all.flat().forEach((f, i) => data.set(f, i * size));
  return npz({ [input]: npy(data, [streams, frames, ...frame]) });
}
