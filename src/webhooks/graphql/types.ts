import { type Builder, describedValues } from '../../graphql/builder.ts';
import { defineForwardPage, type defineForwardPageInfo } from '../../graphql/forward-page.ts';
import { toWebhookId } from '../enqueue.ts';
import { webhookEventTypes } from '../event-types.ts';
import { type WebhookEndpoint, webhookFormats } from '../webhook-endpoint.entity.ts';
import {
  type WebhookAttempt,
  type WebhookMessage,
  webhookMessageStatuses,
} from '../webhook-message.entity.ts';

/** Defines the types of webhooks. */
export function defineWebhookTypes(builder: Builder, PageInfo: ReturnType<typeof defineForwardPageInfo>) {
  const enums = defineEnums(builder);
  const { EventType, Format, Status } = enums;
  const Endpoint = builder.objectRef<WebhookEndpoint>('WebhookEndpoint').implement({
    description: 'An address to which events are sent, without its secret.',
    fields: (t) => ({
      id: t.expose('id', { type: 'UUID', description: 'The id, as in the audit trail and the log.' }),
      url: t.exposeString('url', {
        description: 'The address of the receiver; only its host if it is a secret, as that of Slack.',
      }),
      description: t.exposeString('description', { nullable: true, description: 'The description.' }),
      eventTypes: t.field({
        type: [EventType],
        nullable: true,
        description: 'The types of the events that it gets; null for all.',
        resolve: ({ eventTypes }) => eventTypes,
      }),
      projectIds: t.field({
        type: ['UUID'],
        nullable: true,
        description: 'The projects whose events it gets; null for those of the whole organisation.',
        resolve: ({ projectIds }) => projectIds,
      }),
      format: t.field({
        type: Format,
        description: 'The form of the bodies.',
        resolve: (each) => each.format,
      }),
      createdAt: t.expose('createdAt', { type: 'DateTime', description: 'The time of creation.' }),
      updatedAt: t.expose('updatedAt', { type: 'DateTime', description: 'The time of the last change.' }),
      disabledAt: t.expose('disabledAt', {
        type: 'DateTime',
        nullable: true,
        description:
          'The time at which it was disabled, by a caller or after three days of failure; null if it is enabled.',
      }),
      previousSecretUntil: t.expose('previousSecretUntil', {
        type: 'DateTime',
        nullable: true,
        description: 'The time until which the secret before the last rotation signs too; null without one.',
      }),
      failingSince: t.expose('failingSince', {
        type: 'DateTime',
        nullable: true,
        description: 'The time since which every attempt has failed; null if the last one succeeded.',
      }),
      lastSuccessAt: t.expose('lastSuccessAt', {
        type: 'DateTime',
        nullable: true,
        description: 'The time of the last success, to the minute; null if there was none.',
      }),
    }),
  });
  const Attempt = builder.objectRef<WebhookAttempt>('WebhookAttempt').implement({
    description: 'An attempt to deliver a message. The body of the response is not kept.',
    fields: (t) => ({
      at: t.field({ type: 'DateTime', description: 'The time.', resolve: ({ at }) => new Date(at) }),
      durationMs: t.exposeInt('durationMs', { description: 'The duration in milliseconds.' }),
      status: t.exposeInt('status', {
        nullable: true,
        description:
          'The HTTP status of the response, or the reply code of the mail server; null if there was none.',
      }),
      error: t.exposeString('error', {
        nullable: true,
        description: 'Why there was no response; null if there was one.',
      }),
    }),
  });
  const Message = builder.objectRef<WebhookMessage>('WebhookMessage').implement({
    description: 'An event that is sent to an endpoint. It is kept for seven days.',
    fields: (t) => ({
      id: t.expose('id', { type: 'UUID', description: 'The id.' }),
      webhookId: t.string({
        description: 'The header `webhook-id`. It is the same in each attempt.',
        resolve: ({ id }) => toWebhookId(id),
      }),
      type: t.field({ type: EventType, description: 'The type of the event.', resolve: (each) => each.type }),
      connectionId: t.expose('connectionId', {
        type: 'UUID',
        nullable: true,
        description: 'The connection; null if the event is not about one.',
      }),
      seq: t.exposeInt('seq', { description: 'The sequence number of the event in the audit trail.' }),
      occurredAt: t.expose('occurredAt', { type: 'DateTime', description: 'The time of the event.' }),
      status: t.field({ type: Status, description: 'The state.', resolve: (each) => each.status }),
      nextAttemptAt: t.field({
        type: 'DateTime',
        nullable: true,
        description:
          'The time of the next attempt, if no earlier message of the connection waits and the endpoint is enabled; null if there is none.',
        resolve: ({ status, nextAttemptAt }) => (status === 'PENDING' ? nextAttemptAt : null),
      }),
      attempts: t.field({
        type: [Attempt],
        description: 'The last 20 attempts, oldest first.',
        resolve: ({ log }) => log,
      }),
    }),
  });
  const Page = defineForwardPage<WebhookMessage>(builder, 'WebhookMessagePage', {
    description: 'A page of messages, newest first.',
    Node: Message,
    PageInfo,
  });
  return { ...enums, Endpoint, Message, Page };
}

function defineEnums(builder: Builder) {
  const EventType = builder.enumType('WebhookEventType', {
    description: 'The types of events. In a body, `CONNECTION_CREATED` is `connection.created`.',
    values: describedValues(webhookEventTypes),
  });
  const Format = builder.enumType('WebhookFormat', {
    description: 'The forms of a body.',
    values: describedValues(webhookFormats),
  });
  const Status = builder.enumType('WebhookMessageStatus', {
    description: 'The states of a message.',
    values: describedValues(webhookMessageStatuses),
  });
  return { EventType, Format, Status };
}
