import { access, readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { Ajv, type ErrorObject } from 'ajv';
import { isMap, isScalar, LineCounter, parseDocument, visit, type Document } from 'yaml';
import { FaissVisionError } from '../error.js';
import { isPath } from '../sources/address.js';
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

// Strings that name a folder, or a file that has to be there; they are resolved against the configuration's own folder.
const FOLDERS: readonly Place[] = [['data'], ['logs', 'folder']];
const FILES: readonly Place[] = [
  ['http', 'tls', 'cert'],
  ['http', 'tls', 'key'],
  ['mqtt', 'ca'],
  ['models', 'recognizer', 'weights'],
  ['models', 'depth', 'weights'],
];
/** Weights that are no file. */
const NAMED = ['vggface2', 'casia-webface', 'seeded'];

const validate = new Ajv({ useDefaults: true, allErrors: true, strictTypes: false, verbose: true }).compile<Config>(ConfigSchema);

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
  visit(document, { Alias: (_, alias) => void (alias.resolve(document) ?? refuse([`${at(alias.range![0])}: there is no anchor &${alias.source}`])) });

  const mistakes: Mistake[] = [];
  const config = substituted(document.toJS() ?? {}, environment, [], mistakes) as Config;
  const folder = dirname(file);
  // What is written as a number of a USB camera is one to YAML.
  if (Array.isArray(config.cameras)) for (const camera of config.cameras) if (Number.isInteger(camera?.source)) camera.source = String(camera.source);
  if (mistakes.length === 0) {
    if (!validate(config)) mistakes.push(...told(validate.errors!));
    else mistakes.push(...findMistakes(config), ...(await resolvePaths(config, folder)));
  }
  if (mistakes.length > 0) refuse(mistakes.map((mistake) => `${at(offsetOf(document, mistake.place))}: ${show(mistake.place)}${mistake.message}`));

  return { config, file, folder };
}

/** @returns the files that are not there */
async function resolvePaths(config: Config, folder: string): Promise<Mistake[]> {
  const mistakes: Mistake[] = [];
  for (const place of [...FOLDERS, ...FILES]) {
    const around = place.slice(0, -1).reduce<any>((at, key) => at?.[key], config) as Record<string, unknown> | undefined;
    const key = String(place.at(-1));
    const value = around?.[key];
    if (typeof value !== 'string' || NAMED.includes(value)) continue;
    const path = (around![key] = resolve(folder, value));
    if (FILES.includes(place)) await access(path).catch(() => mistakes.push({ place, message: `there is no file "${path}"` }));
  }
  for (const camera of config.cameras) if (isPath(camera.source)) camera.source = resolve(folder, camera.source);
  return mistakes;
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
  return errors.filter((error) => isWorthTelling(error, errors)).map(({ instancePath, keyword, params, message, parentSchema }) => {
    const place: (string | number)[] = instancePath
      .split('/')
      .slice(1)
      .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
      .map((part) => (/^\d+$/.test(part) ? Number(part) : part));
    const { description } = parentSchema as { description?: string };
    if (keyword === 'additionalProperties') {
      return { place: [...place, String(params.additionalProperty)], message: 'there is no such setting' };
    }
    if (keyword === 'enum') return { place, message: `must be one of ${(params.allowedValues as unknown[]).join(', ')}` };
    if (keyword === 'anyOf') return { place, message: `must be ${description}` };
    return { place, message: keyword === 'pattern' && description ? `${message} (${description})` : message ?? keyword };
  });
}

/** Ajv tells of each alternative of a union: the one that was meant counts, where it can be told by its key, else the union itself. */
function isWorthTelling(error: ErrorObject, errors: ErrorObject[]): boolean {
  const { instancePath, schemaPath, keyword } = error;
  const union = keyword === 'anyOf' ? error : errors.find((each) => each.keyword === 'anyOf' && schemaPath.startsWith(`${each.schemaPath}/`));
  if (!union) return true;
  const within = errors.filter((each) => each.instancePath.startsWith(union.instancePath));
  const alternatives = (union.schema as unknown[]).map((_, i) => within.filter((each) => each.schemaPath.startsWith(`${union.schemaPath}/${i}/`)));
  const meant = alternatives.filter((each) => !each.some((one) => one.keyword === 'required' && one.instancePath === union.instancePath));
  return meant.length === 1 ? meant[0]!.includes(error) : keyword === 'anyOf' && instancePath === union.instancePath;
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
