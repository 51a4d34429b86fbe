import { BadInputError } from '../../errors.js';
import type { Place } from '../place.js';
import { isObject, type JsonObject } from './json.js';

/** An activation as a config names it, with the parameters that Keras 3 may store beside the name. */
export interface ActivationConfig {
  /** In snake_case, as Keras writes it. */
  readonly name: string;
  readonly parameters: JsonObject;
}

/** One layer's object in model.json: its class, its name, its place, and typed access to its config. */
export class LayerConfig {
  constructor(
    readonly className: string,
    readonly name: string,
    readonly values: JsonObject,
    readonly place: Place | undefined,
    /** Major version of the Keras that wrote the file: some activations changed their meaning. */
    readonly kerasMajor: number,
  ) {}

  /** How messages name the layer. */
  get label(): string {
    return `layer ${this.name} (${this.className})`;
  }

  fail(code: string, message: string): never {
    throw new BadInputError(code, `${this.label}: ${message}`, this.place);
  }

  has(key: string): boolean {
    return this.values[key] !== undefined && this.values[key] !== null;
  }

  number(key: string, fallback?: number): number {
    const value = this.values[key] ?? fallback;
    if (typeof value !== 'number' || !Number.isFinite(value)) return this.wrong(key, 'a number');
    return value;
  }

  /** @param fallback absent: the value must be there */
  size(key: string, fallback?: number): number {
    const value = this.number(key, fallback);
    if (!Number.isInteger(value) || value < 1 || value > 2 ** 31) return this.wrong(key, 'a positive whole number');
    return value;
  }

  boolean(key: string, fallback: boolean): boolean {
    const value = this.values[key] ?? fallback;
    if (typeof value !== 'boolean') return this.wrong(key, 'true or false');
    return value;
  }

  text(key: string, fallback: string): string {
    const value = this.values[key] ?? fallback;
    if (typeof value !== 'string') return this.wrong(key, 'a string');
    return value;
  }

  /** A list of whole numbers; a single number stands for a list of one. */
  integers(key: string, fallback?: readonly number[]): readonly number[] {
    const value = this.values[key] ?? fallback;
    const list: unknown[] = Array.isArray(value) ? value : [value];
    if (!list.every((v): v is number => Number.isInteger(v))) return this.wrong(key, 'whole numbers');
    return list;
  }

  /** One positive size for each spatial axis; a single number holds for all of them. */
  spatial(key: string, rank: number, fallback?: readonly number[]): readonly number[] {
    const list = this.integers(key, fallback);
    const sizes = list.length === 1 ? Array.from({ length: rank }, () => list[0]!) : list;
    if (sizes.length !== rank || sizes.some((s) => s < 1)) return this.wrong(key, `${rank} positive whole number(s)`);
    return sizes;
  }

  /** A shape with null where a size is free; null where the config has none. */
  shape(key: string): (number | null)[] | null {
    const value = this.values[key];
    if (!Array.isArray(value)) return null;
    return value.map((d: unknown) => {
      if (d === null || (typeof d === 'number' && d < 0)) return null;
      return Number.isInteger(d) && (d as number) > 0 ? (d as number) : this.wrong(key, 'a shape');
    });
  }

  activation(key: string, fallback: string): ActivationConfig {
    return this.asActivation(this.values[key] === undefined ? fallback : this.values[key]);
  }

  /** Accepts a name, null for linear, and the objects of Keras: {class_name, config}. */
  private asActivation(value: unknown): ActivationConfig {
    if (value === null) return { name: 'linear', parameters: {} };
    if (typeof value === 'string') return { name: snakeName(value), parameters: {} };
    if (isObject(value)) {
      const { class_name: className, config } = value;
      // Keras 3: {"class_name": "function", "config": "tanh"}.
      if (typeof config === 'string') return { name: snakeName(config), parameters: {} };
      if (typeof className === 'string') return { name: snakeName(className), parameters: isObject(config) ? config : {} };
    }
    return this.fail('bad-layer', 'an activation is neither a name nor a description of one');
  }

  private wrong(key: string, wanted: string): never {
    const value = JSON.stringify(this.values[key] ?? null).slice(0, 60);
    this.fail('bad-layer', `its "${key}" is ${value}, not ${wanted}`);
  }
}

/** hardSigmoid, HardSigmoid and hard_sigmoid are one; ReLU and LeakyReLU are spelled apart from the rule. */
function snakeName(name: string): string {
  return name
    .replace(/ReLU/g, 'Relu')
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toLowerCase();
}
