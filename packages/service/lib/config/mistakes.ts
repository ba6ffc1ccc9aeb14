import { isIP } from 'node:net';
import { keyOf } from '../delivery/webhook.js';
import type { Mistake } from './load.js';
import type { Config, RuleConfig } from './schema.js';

/** A door opens after so many frames that agree, and no fewer. */
export const DOOR_FRAMES = 3;

/** A webhook's key has so many bytes at least. */
const SECRET_BYTES = 16;

/** What a schema cannot say: names that must be known or differ, and what a rule that may open a door needs. */
export function findMistakes(config: Config): Mistake[] {
  const mistakes: Mistake[] = [];
  const wrong = (message: string, ...place: (string | number)[]) => mistakes.push({ place, message });
  const different = (list: 'cameras' | 'webhooks' | 'rules', names: string[]) =>
    names.forEach((name, i) => {
      if (names.indexOf(name) !== i) wrong(`"${name}" is there twice`, list, i, list === 'cameras' ? 'id' : 'name');
    });
  const cameras = config.cameras.map(({ id }) => id);
  const webhooks = config.webhooks.map(({ name }) => name);
  different('cameras', cameras);
  different('webhooks', webhooks);
  different(
    'rules',
    config.rules.map(({ name }) => name),
  );
  const known = (list: string[] | undefined, ...place: (string | number)[]) =>
    list?.forEach((id, i) => {
      if (!cameras.includes(id)) wrong(`there is no camera "${id}"`, ...place, 'cameras', i);
    });

  config.cameras.forEach((camera, i) => {
    if (camera.depth && !config.models.depth) wrong('needs models.depth', 'cameras', i, 'depth');
    if (camera.lostAfter < camera.stallAfter) wrong('must be at least stallAfter', 'cameras', i, 'lostAfter');
    if (/^https?:/.test(camera.source) && !URL.canParse(camera.source)) wrong('is no address', 'cameras', i, 'source');
  });
  const address = (url: string, ...place: (string | number)[]) => {
    if (!URL.canParse(url) || new URL(url).hostname === '') wrong('is no address', ...place);
  };
  config.http.trustedProxies.forEach((proxy, i) => {
    if (!isNetwork(proxy)) wrong('must be an address, or a network such as 10.0.0.0/8; not everybody', 'http', 'trustedProxies', i);
  });
  if (config.mqtt) address(config.mqtt.url, 'mqtt', 'url');
  config.webhooks.forEach(({ cameras: about, url, secret }, i) => {
    known(about, 'webhooks', i);
    address(url, 'webhooks', i, 'url');
    if (/^https?:\/\/[^/?#]*@/.test(url)) wrong('must be without user and password: the signature says who sends', 'webhooks', i, 'url');
    if (keyOf(secret).length < SECRET_BYTES) wrong(`must be ${SECRET_BYTES} bytes or more, in base64 after whsec_`, 'webhooks', i, 'secret');
  });
  config.rules.forEach((rule, i) => {
    known(rule.cameras, 'rules', i);
    rule.do.forEach((action, j) => {
      if ('webhook' in action && !webhooks.includes(action.webhook)) wrong(`there is no webhook "${action.webhook}"`, 'rules', i, 'do', j, 'webhook');
      if ('mqtt' in action && !config.mqtt) wrong('needs the section mqtt', 'rules', i, 'do', j, 'mqtt');
      if ('photo' in action && !['recognised', 'unknown'].includes(rule.event))
        wrong(`the event ${rule.event} shows no face`, 'rules', i, 'do', j, 'photo');
    });
    for (const key of ['people', 'maxDistance'] as const)
      if (rule[key] !== undefined && !['recognised', 'left'].includes(rule.event)) wrong(`the event ${rule.event} names nobody`, 'rules', i, key);
    if (rule.hours !== undefined && rule.hours.slice(0, 5) === rule.hours.slice(6))
      wrong('ends when it begins; all day is without hours', 'rules', i, 'hours');
    if (mayOpenDoor(rule)) for (const message of unsafe(rule, config)) wrong(message, 'rules', i);
  });
  return mistakes;
}

/** Of addresses that begin alike, not of all. */
function isNetwork(text: string): boolean {
  const [, address, bits] = /^([^/%]+)(?:\/([1-9]\d{0,2}))?$/.exec(text) ?? [];
  const version = isIP(address ?? '');
  return version !== 0 && Number(bits ?? 1) <= (version === 4 ? 32 : 128);
}

/** What a message or a request makes another program do is not known here, so it counts as a door unless the rule says no. */
export function mayOpenDoor(rule: RuleConfig): boolean {
  return rule.opensDoor ?? rule.do.some((action) => !('photo' in action));
}

function* unsafe(rule: RuleConfig, config: Config): Generator<string> {
  const start = `"${rule.name}" may open a door (opensDoor: false says that it does not), so it`;
  if (rule.event !== 'recognised') {
    yield `${start} must go by the event recognised`;
    return;
  }
  if (rule.people === undefined) yield `${start} must say who: people`;
  if (rule.atMost === undefined) yield `${start} needs a rate limit: atMost`;
  const quick = config.cameras.find(({ id, frames = config.decision.frames }) => frames < DOOR_FRAMES && (rule.cameras?.includes(id) ?? true));
  if (!quick) return;
  const frames = quick.frames ?? config.decision.frames;
  yield `${start} needs a confirmation over at least ${DOOR_FRAMES} frames, and the camera ${quick.id} has ${frames} (decision.frames)`;
}
