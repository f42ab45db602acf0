import { z } from 'zod';
import { typedKeys } from '../common/typed-keys.ts';
import { toWebhookId } from '../webhooks/enqueue.ts';
import { webhookEventTypes } from '../webhooks/event-types.ts';
import { subscribableTypes } from '../webhooks/input-schemas.ts';
import { type WebhookEndpoint, webhookFormats } from '../webhooks/webhook-endpoint.entity.ts';
import { type WebhookMessage, webhookMessageStatuses } from '../webhooks/webhook-message.entity.ts';

const time = z.iso.datetime();
const eventType = z.enum(typedKeys(webhookEventTypes));

/** The schema of the state of a message. */
export const messageStatus = z.enum(typedKeys(webhookMessageStatuses));

/** The schema of an endpoint. */
export const endpointResponse = z
  .object({
    id: z.guid().meta({ description: 'The id, as in the audit trail and the log.' }),
    url: z.string().meta({
      description: 'The address of the receiver; only its host if it is a secret, as that of Slack.',
    }),
    description: z.string().nullable().meta({ description: 'The description.' }),
    eventTypes: z
      .array(z.enum(subscribableTypes))
      .nullable()
      .meta({ description: 'The types of the events that it gets; null for all.' }),
    projectIds: z
      .array(z.guid())
      .nullable()
      .meta({ description: 'The projects whose events it gets; null for those of the whole organisation.' }),
    format: z.enum(typedKeys(webhookFormats)).meta({ description: 'The form of the bodies.' }),
    createdAt: time.meta({ description: 'The time of creation.' }),
    updatedAt: time.meta({ description: 'The time of the last change.' }),
    disabledAt: time.nullable().meta({
      description:
        'The time at which it was disabled, by a caller or after three days of failure; null if it is enabled.',
    }),
    previousSecretUntil: time.nullable().meta({
      description: 'The time until which the secret before the last rotation signs too; null without one.',
    }),
    failingSince: time.nullable().meta({
      description: 'The time since which every attempt has failed; null if the last one succeeded.',
    }),
    lastSuccessAt: time
      .nullable()
      .meta({ description: 'The time of the last success, to the minute; null if there was none.' }),
  })
  .meta({
    id: 'WebhookEndpoint',
    description: 'An address to which events are sent, without its secret.',
  });

/** The schema of a message. */
export const messageResponse = z
  .object({
    id: z.guid().meta({ description: 'The id.' }),
    webhookId: z.string().meta({ description: 'The header `webhook-id`. It is the same in each attempt.' }),
    type: eventType.meta({ description: 'The type of the event.' }),
    connectionId: z
      .guid()
      .nullable()
      .meta({ description: 'The connection; null if the event is not about one.' }),
    seq: z.int().meta({ description: 'The sequence number of the event in the audit trail.' }),
    occurredAt: time.meta({ description: 'The time of the event.' }),
    status: messageStatus.meta({ description: 'The state.' }),
    nextAttemptAt: time.nullable().meta({
      description:
        'The time of the next attempt, if no earlier message of the connection waits and the endpoint is enabled; null if there is none.',
    }),
    attempts: z
      .array(
        z.object({
          at: time.meta({ description: 'The time.' }),
          durationMs: z.int().meta({ description: 'The duration in milliseconds.' }),
          status: z.int().nullable().meta({
            description:
              'The HTTP status of the response, or the reply code of the mail server; null if there was none.',
          }),
          error: z
            .string()
            .nullable()
            .meta({ description: 'Why there was no response; null if there was one.' }),
        }),
      )
      .meta({ description: 'The last 20 attempts, oldest first.' }),
  })
  .meta({ id: 'WebhookMessage', description: 'An event that is sent to an endpoint.' });

/** Converts an endpoint to `endpointResponse`. */
export function serializeEndpoint(endpoint: WebhookEndpoint) {
  const { id, url, description, eventTypes, projectIds, format, createdAt, updatedAt } = endpoint;
  return {
    ...{ id, url, format },
    description: description ?? null,
    eventTypes: eventTypes ?? null,
    projectIds: projectIds ?? null,
    createdAt: createdAt.toISOString(),
    updatedAt: updatedAt.toISOString(),
    disabledAt: endpoint.disabledAt?.toISOString() ?? null,
    previousSecretUntil: endpoint.previousSecretUntil?.toISOString() ?? null,
    failingSince: endpoint.failingSince?.toISOString() ?? null,
    lastSuccessAt: endpoint.lastSuccessAt?.toISOString() ?? null,
  };
}

/** Converts a message to `messageResponse`. */
export function serializeMessage(message: WebhookMessage) {
  const { id, type, connectionId, seq, occurredAt, status, nextAttemptAt, log } = message;
  return {
    ...{ id, webhookId: toWebhookId(id), type, seq, status },
    connectionId: connectionId ?? null,
    occurredAt: occurredAt.toISOString(),
    nextAttemptAt: status === 'PENDING' ? nextAttemptAt.toISOString() : null,
    attempts: [...log],
  };
}
