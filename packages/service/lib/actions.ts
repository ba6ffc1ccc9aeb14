import type { ActionConfig, RuleConfig } from './config/schema.js';
import type { Mqtt } from './delivery/mqtt.js';
import type { Webhook } from './delivery/webhook.js';
import { FaissVisionError } from './error.js';
import type { ServiceEvent } from './store/events.js';

export interface Actors {
  mqtt: Mqtt | undefined;
  webhooks: readonly Webhook[];
  /** Keeps the picture of an event's face. */
  keepPhoto(event: ServiceEvent): Promise<void>;
}

/** Does what a rule says, once; resolves with what is worth writing down. */
export async function act(action: ActionConfig, event: ServiceEvent, rule: RuleConfig, { mqtt, webhooks, keepPhoto }: Actors): Promise<string> {
  if ('photo' in action) {
    await keepPhoto(event);
    return 'kept';
  }
  if ('mqtt' in action) {
    const { topic, payload, retain } = action.mqtt;
    if (!mqtt) throw new FaissVisionError('ERR_MQTT', 'there is no broker');
    await mqtt.send(topic, payload ?? JSON.stringify({ rule: rule.name, event, expires: expiry(event, rule) }), { retain: retain ?? false, timeout: rule.validFor * 1000 });
    return topic;
  }
  const webhook = webhooks.find(({ config }) => config.name === action.webhook);
  if (!webhook) throw new FaissVisionError('ERR_WEBHOOK', `there is no webhook "${action.webhook}"`);
  try {
    await webhook.send({ id: `${event.id}.${rule.name}`, body: { rule: rule.name, event, expires: expiry(event, rule) } });
  } catch (error) {
    // An answer other than 2xx is a refusal; without one nobody knows.
    throw Object.assign(error as Error, { unknown: (error as Error).cause !== undefined });
  }
  return action.webhook;
}

function expiry(event: ServiceEvent, rule: RuleConfig): string {
  return new Date(Date.parse(event.time) + rule.validFor * 1000).toISOString();
}
