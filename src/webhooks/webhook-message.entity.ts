import { defineEntity, p } from '@mikro-orm/core';
import { tenantIsolated } from '../database/row-level-security.ts';
import { authenticateRows } from '../encryption/row-macs.ts';
import { Organisation } from '../identity/organisation.entity.ts';
import type { WebhookEventType } from './event-types.ts';
import { WebhookEndpoint } from './webhook-endpoint.entity.ts';

/** The states of a message, with their descriptions in the GraphQL schema. */
export const webhookMessageStatuses = {
  PENDING: 'It waits for its first or next attempt.',
  DELIVERED: 'The receiver has answered with a status from 200 to 299.',
  FAILED: 'It was not delivered within three days. It can be sent again.',
} as const;

export type WebhookMessageStatus = keyof typeof webhookMessageStatuses;

/** An attempt to deliver a message. The response has a body, which is not kept. */
export interface WebhookAttempt {
  /** In RFC 3339. */
  at: string;
  durationMs: number;
  /** The status of the response; null if there was none. */
  status: number | null;
  /** Why there was no response; null if there was one. */
  error: string | null;
}

const WebhookMessageSchema = defineEntity({
  name: 'WebhookMessage',
  tableName: 'webhook_message',
  ...tenantIsolated('webhook_message'),
  properties: {
    /** `webhook-id`, after the prefix `msg_`. */
    id: p.uuid().primary(),
    orgId: () => p.manyToOne(Organisation).mapToPk().fieldName('org_id'),
    endpointId: () => p.manyToOne(WebhookEndpoint).mapToPk().fieldName('endpoint_id').deleteRule('cascade'),
    /** The sequence number of the event in the audit trail. */
    seq: p.integer(),
    /** The connection, within which messages are delivered in order; null if the event is not about one. */
    connectionId: p.uuid().nullable(),
    type: p.text().$type<WebhookEventType>(),
    /** The e-mail address of the owner of the connection; null if the address of the endpoint says where to. */
    recipient: p.text().nullable(),
    /** The time of the event. */
    occurredAt: p.datetime(3),
    body: p.text().lazy(),
    createdAt: p.datetime(3).index('webhook_message_created'),
    status: p.text().$type<WebhookMessageStatus>(),
    /** The attempts since the message was last queued. */
    attempts: p.integer(),
    /** When the first of these failed; null before. */
    failedSince: p.datetime(3).nullable(),
    nextAttemptAt: p.datetime(3),
    /** The last attempts, oldest first. */
    log: p.json<WebhookAttempt[]>(),
    mac: p
      .text()
      .lazy()
      .hidden()
      .onCreate(() => ''),
  },
  indexes: [
    { name: 'webhook_message_pending', properties: ['endpointId', 'seq'], where: `"status" = 'PENDING'` },
    { name: 'webhook_message_list', properties: ['endpointId', 'seq', 'id'] },
    {
      name: 'webhook_message_recipient',
      properties: ['endpointId', 'recipient'],
      where: '"recipient" is not null',
    },
  ],
});

/** An event that is sent to an endpoint. */
export class WebhookMessage extends WebhookMessageSchema.class {}
WebhookMessageSchema.setClass(WebhookMessage);
const isDeliveryState = 'It changes with each attempt, and decides only when the message is sent.';
authenticateRows(WebhookMessage, {
  status: isDeliveryState,
  attempts: isDeliveryState,
  failedSince: isDeliveryState,
  nextAttemptAt: isDeliveryState,
  log: isDeliveryState,
});
