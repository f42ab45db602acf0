import type { App } from '../../apps/app.ts';
import type { UseMethod, UseRule } from '../../apps/use.ts';
import { type Builder, describedValues, enumValues } from '../../graphql/builder.ts';
import type { UsePolicy } from '../use-policy/use-policy.ts';

const methodDescriptions: Readonly<Record<UseMethod, string>> = {
  GET: 'Reads.',
  HEAD: 'Reads the headers only.',
  POST: 'Creates or does something.',
  PUT: 'Replaces.',
  PATCH: 'Changes a part.',
  DELETE: 'Removes.',
  OPTIONS: 'Asks for the methods.',
};

/** Defines the types of use policies. */
export function defineUsePolicyTypes(builder: Builder, apps: readonly App[]) {
  const Effect = builder.enumType('UseEffect', {
    description: 'What a rule of a use policy does.',
    values: {
      ALLOW: { description: 'The request is sent.' },
      DENY: { description: 'The request is refused.' },
    },
  });
  const Method = builder.enumType('UseMethod', {
    description: 'An HTTP method of a request through a connection.',
    values: describedValues(methodDescriptions),
  });
  const Preset = builder.enumType('UsePolicyPreset', {
    description: 'Use policies by name.',
    values: enumValues(collectPresets(apps)),
  });
  const Rule = builder.objectRef<UseRule>('UseRule').implement({
    description: 'A rule of a use policy.',
    fields: (t) => ({
      effect: t.expose('effect', { type: Effect, description: 'What it does.' }),
      methods: t.field({
        type: [Method],
        nullable: true,
        description: 'The methods to which it applies; null for all. GET covers HEAD.',
        resolve: ({ methods }) => methods,
      }),
      path: t.exposeString('path', { description: pathPatternDescription }),
    }),
  });
  const Policy = builder.objectRef<UsePolicy>('UsePolicy').implement({
    description: 'The requests that callers with `connections:use` may send to the app through a connection.',
    fields: (t) => ({
      version: t.exposeInt('version', {
        description: 'The version of the policy: 1 at first, plus 1 with each change.',
      }),
      preset: t.field({
        type: Preset,
        nullable: true,
        description: 'The preset that the rules come from; null for other rules.',
        resolve: ({ preset }) => preset,
      }),
      rules: t.field({
        type: [Rule],
        description: 'The rules. The first that matches decides; if none does, the request is denied.',
        resolve: ({ rules }) => [...rules],
      }),
    }),
  });
  return { Policy, Rule, Method, Effect, Preset };
}

/** Describes the syntax of the path of a rule. */
export const pathPatternDescription =
  'A pattern of the path without the query: `:name` matches characters of one segment, `*` any characters, and `/**` at ' +
  'the end the path before it and everything below, as in `/api/v1/users/:id/**`.';

/** Presets of several apps with the same name have the descriptions of all of them. */
function collectPresets(apps: readonly App[]): { id: string; description: string }[] {
  const all = apps.flatMap(({ name, usePresets = [] }) => usePresets.map((preset) => ({ name, ...preset })));
  return [...Map.groupBy(all, ({ id }) => id)].map(([id, presets]) => ({
    id,
    description: presets.map(({ name, description }) => `${name}: ${description}`).join('\n\n'),
  }));
}
