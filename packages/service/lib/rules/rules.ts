import type { ActionConfig, RuleConfig } from '../config/schema.js';
import { messageOf } from '../error.js';
import type { Audit, AuditEntry } from '../store/audit.js';
import type { Db } from '../store/database.js';
import type { ServiceEvent } from '../store/events.js';
import { matches } from './match.js';

/** What an action does; it rejects where it failed, and with `unknown` true where nobody knows. */
export type Act = (action: ActionConfig, event: ServiceEvent, rule: RuleConfig) => Promise<string | undefined>;

export interface RulesOptions {
  db: Db;
  rules: readonly RuleConfig[];
  audit: Audit;
  act: Act;
  /** The event that an action is left of from before the service ended. */
  find(event: string): ServiceEvent | undefined;
  onEnd(entry: { rule: string; action: number; kind: string; event: string; state: string; detail?: string }): void;
  /** Of an action whose beginning, then it is not done, or end could not be written down. */
  onFailure(rule: string, event: ServiceEvent, error: unknown): void;
}

interface Intent {
  id: number;
  rule: RuleConfig;
  action: number;
  event: ServiceEvent;
}

export function kindOf(action: ActionConfig): 'mqtt' | 'webhook' | 'photo' {
  return 'mqtt' in action ? 'mqtt' : 'webhook' in action ? 'webhook' : 'photo';
}

/**
 * Decides with each event which rules act, writes that down in the event's own transaction, and runs the actions afterwards.
 * An action begins at most once, whatever happens: its row says that it has begun before it does.
 */
export class Rules {
  readonly #options: RulesOptions;
  readonly #underWay = new Set<Promise<void>>();

  constructor(options: RulesOptions) {
    this.#options = options;
  }

  /** Whether one of them keeps the picture of a face, on or off. */
  get keepPictures(): boolean {
    return this.#options.rules.some((rule) => rule.do.some((action) => kindOf(action) === 'photo'));
  }

  /** Called within the transaction that keeps the event. */
  intend(event: ServiceEvent): Intent[] {
    const time = new Date(event.time);
    return this.#options.rules.flatMap((rule) => {
      if (!this.enabled(rule) || !matches(rule, event, time)) return [];
      const { atMost } = rule;
      if (atMost && this.#options.audit.count(rule.name, new Date(time.getTime() - atMost.seconds * 1000)) >= atMost.times) return [];
      return rule.do.map((action, i) => ({ id: this.#options.audit.intend(event, rule.name, i, kindOf(action)), rule, action: i, event }));
    });
  }

  /** Called once the transaction is through. */
  run(intents: readonly Intent[]): void {
    for (const intent of intents) {
      const running = this.#run(intent)
        .catch((error: unknown) => this.#options.onFailure(intent.rule.name, intent.event, error))
        .finally(() => this.#underWay.delete(running));
      this.#underWay.add(running);
    }
  }

  /** After a start: what was begun is left alone, what was not begins now if its time is not over. */
  recover(): void {
    for (const entry of this.#options.audit.recover()) {
      const rule = this.#options.rules.find(({ name }) => name === entry.rule);
      const event = this.#options.find(entry.event);
      const same = rule !== undefined && event !== undefined && this.#sameAction(rule, entry);
      if (same) this.run([{ id: entry.id, rule, action: entry.action, event }]);
      else this.#options.audit.end(entry.id, 'expired', 'the rule is another one now');
    }
  }

  enabled(rule: RuleConfig): boolean {
    const row = this.#options.db.prepare('SELECT value FROM settings WHERE name = ?').get(`rule:${rule.name}`) as { value: string } | undefined;
    return row === undefined ? rule.enabled : row.value === 'on';
  }

  /** Stays over restarts. @returns whether there is such a rule */
  enable(name: string, on: boolean): boolean {
    if (!this.#options.rules.some((rule) => rule.name === name)) return false;
    const sql = 'INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value';
    this.#options.db.prepare(sql).run(`rule:${name}`, on ? 'on' : 'off');
    return true;
  }

  /** Resolves once nothing is under way. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#underWay);
  }

  async #run({ id, rule, action: i, event }: Intent): Promise<void> {
    const { audit, act, onEnd } = this.#options;
    const action = rule.do[i]!;
    const end = (state: 'done' | 'failed' | 'unknown' | 'expired', detail?: string) => {
      audit.end(id, state, detail);
      onEnd({ rule: rule.name, action: i, kind: kindOf(action), event: event.id, state, ...(detail === undefined ? {} : { detail }) });
    };
    // A door that opens when the person has gone opens for somebody else.
    if (Date.now() - Date.parse(event.time) > rule.validFor * 1000) return end('expired', `more than ${rule.validFor} s after the event`);
    if (!audit.begin(id)) return;
    try {
      end('done', await act(action, event, rule));
    } catch (error) {
      end((error as { unknown?: boolean }).unknown ? 'unknown' : 'failed', messageOf(error));
    }
  }

  #sameAction(rule: RuleConfig, { action, kind }: AuditEntry): boolean {
    const there = rule.do[action];
    return there !== undefined && kindOf(there) === kind;
  }
}
