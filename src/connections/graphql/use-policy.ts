import type { App } from '../../apps/app.ts';
import type { Builder } from '../../graphql/builder.ts';
import { requireCaller } from '../../graphql/context.ts';
import { withInputPaths } from '../../graphql/input-paths.ts';
import { testUsePolicy, type UsePolicyTest, updateUsePolicy } from '../operations/use-policy.ts';
import {
  type UpdateUsePolicy,
  type UsePolicyContent,
  updateUsePolicySchema,
  usePolicyContentSchema,
} from '../use-policy/input-schemas.ts';
import type { UsePolicy } from '../use-policy/use-policy.ts';
import type { ConnectionTypes } from './types.ts';
import { pathPatternDescription } from './use-policy-types.ts';

/** Defines `updateUsePolicy` and `testUsePolicy`. */
export function defineUsePolicyOperations(
  builder: Builder,
  apps: readonly App[],
  { usePolicy: { Policy, Rule, Method, Effect, Preset } }: ConnectionTypes,
): void {
  const RuleInput = builder.inputType('UseRuleInput', {
    description: 'A rule of a use policy.',
    fields: (t) => ({
      effect: t.field({ type: Effect, required: true, description: 'What it does.' }),
      methods: t.field({
        type: [Method],
        description: 'The methods to which it applies; absent for all. GET covers HEAD.',
      }),
      path: t.string({ required: true, description: pathPatternDescription }),
    }),
  });
  const Input = builder.inputRef<UpdateUsePolicy>('UpdateUsePolicyInput').implement({
    description: 'A use policy: a preset or rules.',
    validate: { schema: updateUsePolicySchema(apps) },
    fields: (t) => ({
      preset: t.field({
        type: Preset,
        description: 'The name of a policy. Its rules may become stricter with a new version of the server.',
      }),
      rules: t.field({
        type: [RuleInput],
        description: 'At most 50 rules. The first that matches decides; none denies everything.',
      }),
      version: t.int({
        description:
          'The version of the policy that you have read. If it has another, the request fails with `VERSION_CONFLICT`.',
      }),
    }),
  });
  const Content = builder.inputRef<UsePolicyContent>('UsePolicyInput').implement({
    description: 'A use policy that is tested and not stored: a preset or rules.',
    validate: { schema: usePolicyContentSchema(apps) },
    fields: (t) => ({
      preset: t.field({ type: Preset, description: 'The name of a policy.' }),
      rules: t.field({
        type: [RuleInput],
        description: 'At most 50 rules. The first that matches decides; none denies everything.',
      }),
    }),
  });
  const Payload = builder.objectRef<{ usePolicy: UsePolicy }>('UpdateUsePolicyPayload').implement({
    description: 'The result of changing a use policy.',
    fields: (t) => ({
      usePolicy: t.expose('usePolicy', { type: Policy, description: 'The use policy as it is now.' }),
    }),
  });
  const Test = builder.objectRef<UsePolicyTest>('UsePolicyTest').implement({
    description: 'What a use policy says about a request.',
    fields: (t) => ({
      isAllowed: t.exposeBoolean('isAllowed', { description: 'Whether the request would be sent.' }),
      path: t.exposeString('path', { description: 'The path as it is matched and sent.' }),
      rule: t.field({
        type: Rule,
        nullable: true,
        description: 'The rule that decides; null if none matches.',
        resolve: ({ decidedBy }) => decidedBy?.rule,
      }),
      rulePosition: t.int({
        nullable: true,
        description: 'The position of the rule that decides, from 1; null if none matches.',
        resolve: ({ decidedBy }) => decidedBy && decidedBy.index + 1,
      }),
      explanation: t.exposeString('explanation', { description: 'The decision in words.' }),
    }),
  });
  const connectionId = {
    type: 'UUID',
    required: true,
    description: 'The id of the connection.',
  } as const;
  builder.mutationField('updateUsePolicy', (t) =>
    t.field({
      type: Payload,
      nullable: true,
      description:
        'Replaces the use policy of a connection, at once on this server and within two seconds on others. Scope: connections:write.',
      args: {
        connectionId: t.arg(connectionId),
        input: t.arg({ type: Input, required: true, description: 'The policy.' }),
      },
      resolve: async (_, { connectionId: id, input }, context) => ({
        usePolicy: await withInputPaths(() =>
          updateUsePolicy(context.connections, requireCaller(context), { id }, input),
        ),
      }),
    }),
  );
  builder.queryField('testUsePolicy', (t) =>
    t.field({
      type: Test,
      nullable: true,
      description:
        'Tells which rule of the use policy of a connection decides about a request, without sending it. ' +
        'Scope: connections:read or connections:use.',
      args: {
        connectionId: t.arg(connectionId),
        method: t.arg({ type: Method, required: true, description: 'The method.' }),
        path: t.arg.string({ required: true, description: 'The path, without the query.' }),
        policy: t.arg({
          type: Content,
          description: 'The policy to test in place of that of the connection, before you change it.',
        }),
      },
      resolve: (_, { connectionId: id, method, path, policy }, context) =>
        testUsePolicy(context.connections, requireCaller(context), { id }, { method, path }, policy),
    }),
  );
}
