import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { Ajv, type ErrorObject } from 'ajv';
import { isMap, isScalar, LineCounter, parseDocument, type Document } from 'yaml';
import { FaissVisionError } from '../error.js';
import { findMistakes } from './mistakes.js';
import { ConfigSchema, type Config } from './schema.js';

/** Where a value stands in the configuration: ['cameras', 0, 'source']. */
export type Place = readonly (string | number)[];

export interface Mistake {
  place: Place;
  message: string;
}

export interface LoadedConfig {
  config: Config;
  file: string;
  /** Relative paths in the configuration start here. */
  folder: string;
}

// Strings that name a file or folder; they are resolved against the configuration's own folder.
const PATHS: readonly (readonly string[])[] = [['data'], ['logs', 'folder'], ['http', 'tls', 'cert'], ['http', 'tls', 'key'], ['mqtt', 'ca'], ['models', 'recognizer', 'weights']];

const validate = new Ajv({ useDefaults: true, allErrors: true, strictTypes: false }).compile<Config>(ConfigSchema);

/**
 * Reads and checks a configuration; `${NAME}` in any text stands for that environment variable.
 * @throws ERR_CONFIG_NOT_FOUND, ERR_CONFIG_INVALID: one line for each mistake, `file:line:column: where: what`
 */
export async function loadConfig(path: string, environment: NodeJS.ProcessEnv = process.env): Promise<LoadedConfig> {
  const file = resolve(path);
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw new FaissVisionError('ERR_CONFIG_NOT_FOUND', `the configuration "${path}" cannot be read`, { cause });
  });
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset);
    return `${path}:${line}:${col}`;
  };
  const refuse = (messages: string[]) => {
    throw new FaissVisionError('ERR_CONFIG_INVALID', messages.join('\n'));
  };
  if (document.errors.length > 0) refuse(document.errors.map(({ pos, message }) => `${at(pos[0])}: ${message}`));

  const mistakes: Mistake[] = [];
  const config = substituted(document.toJS() ?? {}, environment, [], mistakes) as Config;
  if (mistakes.length === 0) {
    if (!validate(config)) mistakes.push(...told(validate.errors!));
    else mistakes.push(...findMistakes(config));
  }
  if (mistakes.length > 0) refuse(mistakes.map((mistake) => `${at(offsetOf(document, mistake.place))}: ${show(mistake.place)}${mistake.message}`));

  const folder = dirname(file);
  for (const place of PATHS) resolveAt(config, place, folder);
  if (config.models.depth && config.models.depth.weights !== 'seeded') config.models.depth.weights = resolve(folder, config.models.depth.weights);
  for (const camera of config.cameras) if (!isAddress(camera.source)) camera.source = resolve(folder, camera.source);
  return { config, file, folder };
}

export function isAddress(source: string): boolean {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(source) || /^\d+$/.test(source);
}

function resolveAt(config: Config, place: readonly string[], folder: string): void {
  let at = config as unknown as Record<string, unknown> | undefined;
  for (const key of place.slice(0, -1)) at = at?.[key] as Record<string, unknown> | undefined;
  const last = place.at(-1)!;
  const value = at?.[last];
  if (at && typeof value === 'string') at[last] = resolve(folder, value);
}

/** The same values, with every `${NAME}` replaced. */
function substituted(value: unknown, environment: NodeJS.ProcessEnv, place: Place, mistakes: Mistake[]): unknown {
  if (typeof value === 'string') {
    return value.replaceAll(/\$\{(\w+)\}/g, (_, variable: string) => {
      const found = environment[variable];
      if (found === undefined) mistakes.push({ place, message: `the environment variable ${variable} is not set` });
      return found ?? '';
    });
  }
  if (Array.isArray(value)) return value.map((each, i) => substituted(each, environment, [...place, i], mistakes));
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, substituted(each, environment, [...place, key], mistakes)]));
  }
  return value;
}

function told(errors: ErrorObject[]): Mistake[] {
  // Ajv tells of each alternative of a union; the union itself says enough.
  const unions = errors.filter(({ keyword }) => keyword === 'anyOf').map(({ instancePath }) => instancePath);
  const rest = errors.filter(({ keyword, instancePath }) => keyword === 'anyOf' || !unions.some((union) => instancePath.startsWith(union)));
  return rest.map(({ instancePath, keyword, params, message }) => {
    const place: (string | number)[] = instancePath
      .split('/')
      .slice(1)
      .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
      .map((part) => (/^\d+$/.test(part) ? Number(part) : part));
    if (keyword === 'additionalProperties') {
      return { place: [...place, String(params.additionalProperty)], message: 'there is no such setting' };
    }
    if (keyword === 'enum') return { place, message: `must be one of ${(params.allowedValues as unknown[]).join(', ')}` };
    if (keyword === 'anyOf') return { place, message: place.includes('do') ? 'must be one of mqtt, webhook, photo' : 'has none of the shapes that are known' };
    return { place, message: message ?? keyword };
  });
}

/** Where the value begins, or its key, or the nearest thing around it that is there. */
function offsetOf(document: Document, place: Place): number {
  for (let length = place.length; length > 0; length--) {
    const parent: unknown = length === 1 ? document.contents : document.getIn(place.slice(0, length - 1), true);
    if (isMap(parent)) {
      const key = parent.items.find((pair) => isScalar(pair.key) && String(pair.key.value) === String(place[length - 1]))?.key;
      if (isScalar(key) && key.range) return key.range[0];
    }
    const node = document.getIn(place.slice(0, length), true) as { range?: [number, number, number] } | undefined;
    if (node?.range) return node.range[0];
  }
  return 0;
}

function show(place: Place): string {
  const path = place.map((key) => (typeof key === 'number' ? `[${key}]` : `.${key}`)).join('').replace(/^\./, '');
  return path === '' ? '' : `${path}: `;
}
