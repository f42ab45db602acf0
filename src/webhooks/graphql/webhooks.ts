import { dateTime } from '../../common/date-time.ts';
import type { Builder } from '../../graphql/builder.ts';
import { requireCaller } from '../../graphql/context.ts';
import { type defineForwardPageInfo, forwardPageArgs } from '../../graphql/forward-page.ts';
import { withInputPaths } from '../../graphql/input-paths.ts';
import { deleteWebhookEndpoint, rotateWebhookSecret, updateWebhookEndpoint } from '../change-endpoint.ts';
import { createWebhookEndpoint, type EndpointWithSecret } from '../create-endpoint.ts';
import { getWebhookEndpoint, listWebhookEndpoints } from '../endpoints.ts';
import { createWebhookEndpointSchema, updateWebhookEndpointSchema } from '../input-schemas.ts';
import { listWebhookMessages, webhookMessageCursor } from '../messages.ts';
import { type Redelivered, redeliverWebhookMessages, sendTestWebhook } from '../redeliver.ts';
import type { WebhookEndpoint } from '../webhook-endpoint.entity.ts';
import type { WebhookMessage } from '../webhook-message.entity.ts';
import { defineWebhookTypes } from './types.ts';

type WebhookTypes = ReturnType<typeof defineWebhookTypes>;

/** Defines the operations on webhook endpoints and their messages. */
export function defineWebhooks(builder: Builder, PageInfo: ReturnType<typeof defineForwardPageInfo>): void {
  const types = defineWebhookTypes(builder, PageInfo);
  defineQueries(builder, types);
  defineEndpointMutations(builder, types);
  defineMessageMutations(builder, types);
}

const id = { type: 'UUID', required: true, description: 'The id of the endpoint.' } as const;

function defineQueries(builder: Builder, { Endpoint, Page, Status }: WebhookTypes): void {
  builder.queryFields((t) => ({
    webhookEndpoints: t.field({
      type: [Endpoint],
      description:
        'The webhook endpoints of the organisation, at most 50, oldest first. Scope: webhooks:read.',
      resolve: (_, _args, context) => listWebhookEndpoints(context.connections, requireCaller(context)),
    }),
    webhookEndpoint: t.field({
      type: Endpoint,
      nullable: true,
      description: 'A webhook endpoint. Scope: webhooks:read.',
      args: { id: t.arg(id) },
      resolve: (_, args, context) => getWebhookEndpoint(context.connections, requireCaller(context), args.id),
    }),
    webhookMessages: t.field({
      type: Page,
      description:
        'The messages of an endpoint of the last seven days with the log of their attempts, newest first. Scope: webhooks:read.',
      args: {
        endpointId: t.arg(id),
        status: t.arg({ type: Status, description: 'Only messages in this state.' }),
        ...forwardPageArgs(t, webhookMessageCursor),
      },
      resolve: (_, { endpointId, ...args }, context) =>
        listWebhookMessages(context.connections, requireCaller(context), endpointId, args),
    }),
  }));
}

function defineEndpointMutations(builder: Builder, { Endpoint, EventType, Format }: WebhookTypes): void {
  const texts = {
    url: 'The address of the receiver: a public https address, or `mailto:` and an e-mail address for the format EMAIL.',
    description: 'A description of at most 256 characters.',
    eventTypes: 'The types of the events that it gets.',
    projectIds: 'The projects whose events it gets.',
  };
  const CreateInput = builder.inputType('CreateWebhookEndpointInput', {
    description: 'The endpoint to create.',
    fields: (t) => ({
      url: t.string({ required: true, description: texts.url }),
      description: t.string({ description: texts.description }),
      eventTypes: t.field({ type: [EventType], description: `${texts.eventTypes} Absent: all.` }),
      projectIds: t.field({
        type: ['UUID'],
        description: `${texts.projectIds} Absent: the whole organisation.`,
      }),
      format: t.field({ type: Format, description: 'The form of the bodies. Absent: STANDARD.' }),
    }),
    validate: { schema: createWebhookEndpointSchema },
  });
  const UpdateInput = builder.inputType('UpdateWebhookEndpointInput', {
    description: 'The changes of an endpoint. What is absent does not change.',
    fields: (t) => ({
      url: t.string({ description: texts.url }),
      description: t.string({ description: `${texts.description} Null removes it.` }),
      eventTypes: t.field({ type: [EventType], description: `${texts.eventTypes} Null: all.` }),
      projectIds: t.field({
        type: ['UUID'],
        description: `${texts.projectIds} Null: the whole organisation.`,
      }),
      format: t.field({ type: Format, description: 'The form of the bodies of later events.' }),
      enabled: t.boolean({
        description:
          'Whether events are sent. An endpoint that is enabled again gets the events from then on.',
      }),
    }),
    validate: { schema: updateWebhookEndpointSchema },
  });
  const definePayloadWithSecret = (name: string, description: string) =>
    builder.objectRef<EndpointWithSecret>(name).implement({
      description,
      fields: (t) => ({
        endpoint: t.expose('endpoint', { type: Endpoint, description: 'The endpoint.' }),
        secret: t.string({
          description:
            'The secret with which receivers verify signatures, in the form of Standard Webhooks. Only this response contains it.',
          resolve: ({ secret }) => secret.reveal(),
        }),
      }),
    });
  const Created = definePayloadWithSecret('CreateWebhookEndpointPayload', 'The new endpoint.');
  const Rotated = definePayloadWithSecret('RotateWebhookSecretPayload', 'The endpoint with its new secret.');
  const Updated = builder.objectRef<{ endpoint: WebhookEndpoint }>('UpdateWebhookEndpointPayload').implement({
    description: 'The result of an update.',
    fields: (t) => ({ endpoint: t.expose('endpoint', { type: Endpoint, description: 'The endpoint.' }) }),
  });
  const Deleted = builder.objectRef<{ deletedId: string }>('DeleteWebhookEndpointPayload').implement({
    description: 'The result of a deletion.',
    fields: (t) => ({
      deletedId: t.expose('deletedId', { type: 'UUID', description: 'The id of the deleted endpoint.' }),
    }),
  });
  builder.mutationFields((t) => ({
    createWebhookEndpoint: t.field({
      type: Created,
      nullable: true,
      description: 'Creates a webhook endpoint. It gets the events from now on. Scope: webhooks:write.',
      args: { input: t.arg({ type: CreateInput, required: true, description: 'The endpoint to create.' }) },
      resolve: (_, { input }, context) =>
        withInputPaths(() => createWebhookEndpoint(context.connections, requireCaller(context), input)),
    }),
    updateWebhookEndpoint: t.field({
      type: Updated,
      nullable: true,
      description: 'Updates, disables or enables a webhook endpoint. Scope: webhooks:write.',
      args: {
        id: t.arg(id),
        input: t.arg({ type: UpdateInput, required: true, description: 'The changes.' }),
      },
      resolve: (_, args, context) =>
        withInputPaths(async () => ({
          endpoint: await updateWebhookEndpoint(
            context.connections,
            requireCaller(context),
            args.id,
            args.input as Parameters<typeof updateWebhookEndpoint>[3],
          ),
        })),
    }),
    deleteWebhookEndpoint: t.field({
      type: Deleted,
      nullable: true,
      description: 'Deletes a webhook endpoint with its messages. Scope: webhooks:write.',
      args: { id: t.arg(id) },
      resolve: async (_, args, context) => ({
        deletedId: await deleteWebhookEndpoint(context.connections, requireCaller(context), args.id),
      }),
    }),
    rotateWebhookSecret: t.field({
      type: Rotated,
      nullable: true,
      description:
        'Makes a new secret for a webhook endpoint. For a day, messages have a signature of each. Scope: webhooks:write.',
      args: { id: t.arg(id) },
      resolve: (_, args, context) =>
        rotateWebhookSecret(context.connections, requireCaller(context), args.id),
    }),
  }));
}

function defineMessageMutations(builder: Builder, { Message }: WebhookTypes): void {
  const Sent = builder.objectRef<{ message: WebhookMessage }>('SendTestWebhookPayload').implement({
    description: 'The result of sending a test event.',
    fields: (t) => ({ message: t.expose('message', { type: Message, description: 'The message.' }) }),
  });
  const RedeliveredType = builder.objectRef<Redelivered>('RedeliverWebhooksPayload').implement({
    description: 'The result of sending messages again.',
    fields: (t) => ({
      count: t.exposeInt('count', {
        description: 'The number of messages that are sent again, at most 1000: the oldest.',
      }),
      nextFrom: t.field({
        type: 'DateTime',
        nullable: true,
        description: 'If there are more, the time to give as `from` to send the rest again; otherwise null.',
        resolve: (redelivered) => redelivered.nextFrom,
      }),
    }),
  });
  builder.mutationFields((t) => ({
    sendTestWebhook: t.field({
      type: Sent,
      nullable: true,
      description: 'Sends a test event to a webhook endpoint. Scope: webhooks:write.',
      args: { endpointId: t.arg(id) },
      resolve: async (_, { endpointId }, context) => ({
        message: await sendTestWebhook(context.connections, requireCaller(context), endpointId),
      }),
    }),
    redeliverWebhooks: t.field({
      type: RedeliveredType,
      nullable: true,
      description:
        'Sends messages of an endpoint again that were delivered or have failed, at once those that wait for their next ' +
        'attempt: one, or those whose events are in a span of time. They keep their `webhook-id`. Scope: webhooks:write.',
      args: {
        endpointId: t.arg(id),
        messageId: t.arg({ type: 'UUID', description: 'The id of one message.' }),
        from: t.arg({
          type: 'DateTime',
          description: 'Events at this time or later.',
          validate: { schema: dateTime },
        }),
        to: t.arg({
          type: 'DateTime',
          description: 'Events before this time. Absent: until now.',
          validate: { schema: dateTime },
        }),
      },
      resolve: (_, { endpointId, ...args }, context) =>
        redeliverWebhookMessages(context.connections, requireCaller(context), endpointId, args),
    }),
  }));
}
