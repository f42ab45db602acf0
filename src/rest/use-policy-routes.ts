import { z } from 'zod';
import { type App, appTypeName } from '../apps/app.ts';
import { strictObject } from '../common/strict-object.ts';
import { boundedText } from '../common/text.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import {
  readUsePolicy,
  testUsePolicy,
  type UsePolicyTest,
  updateUsePolicy,
} from '../connections/operations/use-policy.ts';
import { useMethods } from '../connections/use-policy/decide.ts';
import {
  updateUsePolicySchema,
  useEffects,
  usePolicyContentSchema,
} from '../connections/use-policy/input-schemas.ts';
import type { UsePolicy } from '../connections/use-policy/use-policy.ts';
import { idPath, noQuery } from './request-schemas.ts';
import { type Route, route } from './route.ts';

const method = z.enum(useMethods);
const rule = z.object({
  effect: z.enum(useEffects).meta({ description: 'What the rule does.' }),
  methods: z
    .array(method)
    .nullable()
    .meta({ description: 'The methods to which it applies; null for all. GET covers HEAD.' }),
  path: z.string().meta({
    description:
      'A pattern of the path without the query: `:name` matches characters of one segment, `*` any characters, and `/**` ' +
      'at the end the path before it and everything below.',
  }),
});

/** The routes of the use policy of a connection. */
export function createUsePolicyRoutes(deps: ConnectionDeps, app: App, path: string): Route[] {
  const presets = (app.usePresets ?? []).map(({ id }) => id);
  const usePolicy = z
    .object({
      version: z
        .int()
        .meta({ description: 'The version of the policy: 1 at first, plus 1 with each change.' }),
      preset: z
        .enum(presets)
        .nullable()
        .meta({ description: 'The preset that the rules come from; null for other rules.' }),
      rules: z.array(rule).meta({
        description: 'The first rule that matches decides; if none does, the request is denied.',
      }),
    })
    .meta({
      description:
        'The requests that callers with `connections:use` may send to the app through a connection.',
    });
  const test = z
    .object({
      isAllowed: z.boolean().meta({ description: 'Whether the request would be sent.' }),
      path: z.string().meta({ description: 'The path as it is matched and sent.' }),
      rule: rule.nullable().meta({ description: 'The rule that decides; null if none matches.' }),
      rulePosition: z
        .int()
        .nullable()
        .meta({ description: 'The position of the rule that decides, from 1; null if none matches.' }),
      explanation: z.string().meta({ description: 'The decision in words.' }),
    })
    .meta({ description: 'What a use policy says about a request.' });
  return [
    route(
      {
        method: 'GET',
        path: `${path}/:id/use-policy`,
        id: `get${appTypeName(app)}ConnectionUsePolicy`,
        summary: 'Returns the use policy of a connection. Scope: connections:read or connections:use.',
        schemas: { path: idPath, query: noQuery },
        response: z.object({ usePolicy }),
        codes: ['NOT_FOUND'],
      },
      async ({ path: { id } }, caller) => {
        const found = await readUsePolicy(deps, caller, { id, app: app.id });
        return { body: { usePolicy: serializeUsePolicy(found) } };
      },
    ),
    route(
      {
        method: 'PUT',
        path: `${path}/:id/use-policy`,
        id: `update${appTypeName(app)}ConnectionUsePolicy`,
        summary:
          'Replaces the use policy of a connection: by a preset or by rules. Scope: connections:write.',
        schemas: { path: idPath, query: noQuery, body: updateUsePolicySchema([app]) },
        response: z.object({ usePolicy }),
        codes: ['NOT_FOUND', 'VERSION_CONFLICT'],
      },
      async ({ path: { id }, body }, caller) => {
        const updated = await updateUsePolicy(deps, caller, { id, app: app.id }, body);
        return { body: { usePolicy: serializeUsePolicy(updated) } };
      },
    ),
    route(
      {
        method: 'POST',
        path: `${path}/:id/use-policy/test`,
        id: `test${appTypeName(app)}ConnectionUsePolicy`,
        summary:
          'Tells which rule decides about a request, without sending it. Scope: connections:read or connections:use.',
        schemas: {
          path: idPath,
          query: noQuery,
          body: strictObject({
            method,
            path: boundedText(4_096, { tooLong: 'The path is too long.' }).meta({
              description: 'The path, without the query.',
            }),
            policy: usePolicyContentSchema([app]).nullish().meta({
              description: 'The policy to test in place of that of the connection, before you change it.',
            }),
          }),
        },
        response: z.object({ usePolicyTest: test }),
        codes: ['NOT_FOUND'],
      },
      async ({ path: { id }, body: { policy, ...request } }, caller) => {
        const result = await testUsePolicy(deps, caller, { id, app: app.id }, request, policy);
        return { body: { usePolicyTest: serializeTest(result) } };
      },
    ),
  ];
}

function serializeUsePolicy({ version, preset, rules }: UsePolicy) {
  return { version, preset, rules: rules.map(serializeRule) };
}

function serializeRule({ effect, methods, path }: UsePolicy['rules'][number]) {
  return { effect, methods: methods ?? null, path };
}

function serializeTest({ isAllowed, path, decidedBy, explanation }: UsePolicyTest) {
  const [rule, rulePosition] = decidedBy
    ? [serializeRule(decidedBy.rule), decidedBy.index + 1]
    : [null, null];
  return { isAllowed, path, rule, rulePosition, explanation };
}
