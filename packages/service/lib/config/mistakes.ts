import type { Mistake } from './load.js';
import type { Config, RuleConfig } from './schema.js';

/** A door opens after so many frames that agree, and no fewer. */
export const DOOR_FRAMES = 3;

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
  });
  config.webhooks.forEach((webhook, i) => known(webhook.cameras, 'webhooks', i));
  config.rules.forEach((rule, i) => {
    known(rule.cameras, 'rules', i);
    rule.do.forEach((action, j) => {
      if ('webhook' in action && !webhooks.includes(action.webhook)) wrong(`there is no webhook "${action.webhook}"`, 'rules', i, 'do', j, 'webhook');
      if ('mqtt' in action && !config.mqtt) wrong('needs the section mqtt', 'rules', i, 'do', j, 'mqtt');
    });
    if (rule.people !== undefined && !['recognised', 'left'].includes(rule.event))
      wrong(`the event ${rule.event} names nobody`, 'rules', i, 'people');
    if (mayOpenDoor(rule)) for (const message of unsafe(rule, config)) wrong(message, 'rules', i);
  });
  return mistakes;
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
