import { defineEntity, p } from '@mikro-orm/core';
import { tenantIsolated } from '../database/row-level-security.ts';
import { DataKey } from '../encryption/data-key.entity.ts';
import { authenticateRows } from '../encryption/row-macs.ts';
import { Organisation } from '../identity/organisation.entity.ts';
import type { WebhookEventType } from './event-types.ts';

/** The forms of a body, with their descriptions in the GraphQL schema. */
export const webhookFormats = {
  STANDARD: 'The members `type`, `timestamp` and `data`, as Standard Webhooks recommends.',
  CLOUDEVENTS: 'A CloudEvents 1.0 event in structured mode, with the same `data`.',
  SLACK: 'A digest for people, by an incoming webhook of Slack. The URL is a secret, and is not shown.',
  EMAIL: 'A digest for people, by e-mail to the address in a `mailto:` URL.',
} as const;

export type WebhookFormat = keyof typeof webhookFormats;

/** The formats for people: all events that wait are sent together. */
export type DigestFormat = 'SLACK' | 'EMAIL';

export function isDigest(format: WebhookFormat): format is DigestFormat {
  return format === 'SLACK' || format === 'EMAIL';
}

/**
 * The URL of the endpoint that sends to the owners of connections, to each about its own. An organisation has it from the first owner
 * on. It is not among the endpoints that callers see.
 */
export const ownersUrl = 'owners:';

/** Whether an endpoint sends to the owners of connections. */
export function isForOwners({ url }: Pick<WebhookEndpoint, 'url'>): boolean {
  return url === ownersUrl;
}

const WebhookEndpointSchema = defineEntity({
  name: 'WebhookEndpoint',
  tableName: 'webhook_endpoint',
  ...tenantIsolated('webhook_endpoint'),
  properties: {
    id: p.uuid().primary(),
    orgId: () => p.manyToOne(Organisation).mapToPk().fieldName('org_id').index('webhook_endpoint_org'),
    url: p.text(),
    description: p.text().nullable(),
    /** Null: all. */
    eventTypes: p.array().$type<WebhookEventType[]>().nullable(),
    /** Null: the whole organisation. */
    projectIds: p.array().columnType('uuid[]').nullable(),
    format: p.text().$type<WebhookFormat>(),
    /** The secrets as a compact JWE. */
    sealedSecrets: p.text().lazy().hidden(),
    dataKeyId: () =>
      p.manyToOne(DataKey).mapToPk().fieldName('data_key_id').index('webhook_endpoint_data_key'),
    /** Until when the previous secret signs too; null if there is none. */
    previousSecretUntil: p.datetime(3).nullable(),
    createdAt: p.datetime(3),
    updatedAt: p.datetime(3),
    disabledAt: p.datetime(3).nullable(),
    /** The last event of the audit trail that is among the messages, or is not for this endpoint. */
    position: p.integer(),
    /** When the next message is due; null if none waits. */
    nextAttemptAt: p.datetime(3).nullable(),
    /** The server that delivers the messages; it must renew the lease. */
    leaseId: p.uuid().nullable(),
    leaseUntil: p.datetime(3).nullable(),
    /** When the first of the attempts failed that have all failed since; null after a success. */
    failingSince: p.datetime(3).nullable(),
    lastSuccessAt: p.datetime(3).nullable(),
    mac: p
      .text()
      .lazy()
      .hidden()
      .onCreate(() => ''),
  },
  uniques: [{ name: 'webhook_endpoint_owners', properties: ['orgId'], where: `"url" = '${ownersUrl}'` }],
});

/** An address of an organisation to which events are sent. */
export class WebhookEndpoint extends WebhookEndpointSchema.class {}
WebhookEndpointSchema.setClass(WebhookEndpoint);
const isDeliveryState = 'It changes with each delivery, and decides only when messages are sent.';
authenticateRows(WebhookEndpoint, {
  position: isDeliveryState,
  nextAttemptAt: isDeliveryState,
  leaseId: isDeliveryState,
  leaseUntil: isDeliveryState,
  failingSince: isDeliveryState,
  lastSuccessAt: isDeliveryState,
});
