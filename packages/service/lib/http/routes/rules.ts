import { Type, type Static } from 'typebox';
import { mayOpenDoor } from '../../config/mistakes.js';
import type { ActionConfig, RuleConfig } from '../../config/schema.js';
import { kindOf } from '../../rules/rules.js';
import type { Routes } from '../app.js';
import { HttpError } from '../failures.js';
import { AuditEntry, failures, Limit, MOST, Query, Rule } from '../schemas.js';

const tags = ['rules'];
const read = { scope: 'read' } as const;

/** The rules, which only the configuration makes, and what they did. */
export const ruleRoutes: Routes = (app, { config, rules, audit }) => {
  const describe = ({ do: actions, ...rule }: RuleConfig): Static<typeof Rule> => ({
    ...rule,
    enabled: rules.enabled({ do: actions, ...rule }),
    opensDoor: mayOpenDoor({ do: actions, ...rule }),
    actions: actions.map((action) => ({ kind: kindOf(action), ...targetOf(action) })),
  });

  app.get(
    '/v1/rules',
    { config: read, schema: { tags, summary: 'The rules', response: { 200: Type.Object({ rules: Type.Array(Rule) }), ...failures } } },
    async () => ({
      rules: config.rules.map(describe),
    }),
  );

  app.patch(
    '/v1/rules/:name',
    {
      config: { scope: 'admin' },
      schema: {
        tags,
        summary: 'Switch a rule on or off; it stays so over restarts',
        params: Type.Object({ name: Type.String({ minLength: 1, maxLength: 64 }) }),
        body: Type.Object({ enabled: Type.Boolean() }, { additionalProperties: false }),
        response: { 200: Rule, ...failures },
      },
    },
    async ({ params, body }) => {
      const rule = config.rules.find(({ name }) => name === params.name);
      if (!rule || !rules.enable(rule.name, body.enabled)) throw new HttpError(404, 'ERR_RULE_UNKNOWN', `there is no rule "${params.name}"`);
      return describe(rule);
    },
  );

  app.get(
    '/v1/audit',
    {
      config: read,
      schema: {
        tags,
        summary: 'What the rules did, newest first',
        querystring: Query({
          before: Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description: 'an id' })),
          rule: Type.Optional(Type.String({ maxLength: 64 })),
          limit: Limit,
        }),
        response: { 200: Type.Object({ entries: Type.Array(AuditEntry) }), ...failures },
      },
    },
    async ({ query }) => ({ entries: audit.list({ limit: MOST, ...query }) }),
  );
};

function targetOf(action: ActionConfig): { target?: string } {
  if ('mqtt' in action) return { target: action.mqtt.topic };
  return 'webhook' in action ? { target: action.webhook } : {};
}
