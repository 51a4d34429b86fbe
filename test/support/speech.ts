import { seededRandom } from '../../src/samples/random.js';

/**
 * Audio like speech, made from a seed: voiced sounds as harmonics under gliding pitch with three formants, hisses as
 * high-passed noise, pauses, and a quiet background. Peaks near 0.5.
 */
export function speech(seed: number, sampleRate: number, seconds: number): Float64Array {
  const random = seededRandom(seed);
  const between = (low: number, high: number) => low + (high - low) * random();
  const out = new Float64Array(Math.round(sampleRate * seconds)).map(() => 0.002 * (2 * random() - 1));
  const speaker = between(95, 210);
  let at = 0;
  while (at < out.length) {
    const kind = random();
    const length = Math.min(out.length - at, Math.round(sampleRate * (kind < 0.2 ? between(0.08, 0.5) : between(0.06, 0.28))));
    if (kind >= 0.2 && kind < 0.75) voiced(out, at, length);
    else if (kind >= 0.75) hiss(out, at, length);
    at += length;
  }
  return out;

  function voiced(target: Float64Array, from: number, length: number): void {
    const formants = [between(280, 850), between(900, 2300), between(2300, 3100)];
    const [pitch, glide] = [speaker * between(0.85, 1.2), between(-0.25, 0.25)];
    const level = between(0.1, 0.35);
    let phase = 0;
    for (let i = 0; i < length; i++) {
      const share = i / length;
      const f0 = pitch * (1 + glide * share);
      phase += (2 * Math.PI * f0) / sampleRate;
      let value = 0;
      for (let n = 1; n * f0 < Math.min(4000, sampleRate / 2); n++) {
        const gain = formants.reduce((sum, f, k) => sum + 1 / (1 + ((n * f0 - f) / (80 + 40 * k)) ** 2) / (k + 1), 0.01);
        value += (gain / Math.sqrt(n)) * Math.sin(n * phase);
      }
      target[from + i] = target[from + i]! + level * Math.sin(Math.PI * share) ** 0.6 * value;
    }
  }

  function hiss(target: Float64Array, from: number, length: number): void {
    const level = between(0.02, 0.12);
    let before = 0;
    for (let i = 0; i < length; i++) {
      const noise = 2 * random() - 1;
      target[from + i] = target[from + i]! + level * Math.sin((Math.PI * i) / length) * (noise - 0.9 * before);
      before = noise;
    }
  }
}

/** Overlapping frames of a signal, [frames][size]. */
export function framesOf(signal: Float64Array, size: number, hop: number): Float64Array[] {
  const count = Math.floor((signal.length - size) / hop) + 1;
  return Array.from({ length: count }, (_, t) => signal.slice(t * hop, t * hop + size));
}

/** Discrete Fourier transform of a real frame: size / 2 + 1 bins, real and imaginary parts in turn. */
export function spectrum(frame: Float64Array): Float64Array {
  const size = frame.length;
  const table = Float64Array.from({ length: size }, (_, i) => Math.cos((2 * Math.PI * i) / size));
  const out = new Float64Array(size + 2);
  for (let bin = 0; bin <= size / 2; bin++) {
    let [re, im] = [0, 0];
    for (let i = 0; i < size; i++) {
      re += frame[i]! * table[(bin * i) % size]!;
      im -= frame[i]! * table[(bin * i + size - size / 4) % size]!;
    }
    out[2 * bin] = re;
    out[2 * bin + 1] = im;
  }
  return out;
}
