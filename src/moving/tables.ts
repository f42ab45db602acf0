import type { EntityClass } from '@mikro-orm/core';
import { AuditHead } from '../audit/audit-event.entity.ts';
import { AuditRetention } from '../audit/audit-retention.entity.ts';
import { AppConnection } from '../connections/app-connection.entity.ts';
import { IdempotentRequest } from '../connections/idempotency.entity.ts';
import { SetupLink } from '../connections/setup-link.entity.ts';
import { DataKey } from '../encryption/data-key.entity.ts';
import type { Authenticated } from '../encryption/row-macs.ts';
import { ApiKey } from '../identity/api-key.entity.ts';
import { Project } from '../identity/organisation.entity.ts';
import { OrganisationDeletion } from '../identity/organisation-deletion.entity.ts';
import { WebhookEndpoint } from '../webhooks/webhook-endpoint.entity.ts';
import { WebhookMessage } from '../webhooks/webhook-message.entity.ts';

/** A table whose rows move with their organisation. */
export interface MovedTable {
  name: string;
  /** The columns of the primary key, in the order in which rows are exported. Texts are ordered by their bytes. */
  key: readonly string[];
  textKeys?: readonly string[];
  /** A column that is unique in the whole database, beside the primary key. */
  unique?: string;
  /** The column with the organisation. */
  organisation: 'id' | 'org_id';
  /** The role that may insert rows. */
  insertedBy: 'tenant' | 'system';
  /** The entity, if its rows carry a MAC. */
  entity?: EntityClass<Authenticated>;
  /**
   * The transaction that imports the rows. `closing` makes the organisation usable: before, it has neither API keys nor the end of an
   * audit trail, so that no server works for it.
   */
  stage: 'opening' | 'body' | 'closing';
}

type Options = Pick<MovedTable, 'insertedBy'> & Partial<MovedTable>;

const table = (name: string, key: readonly string[], options: Options): MovedTable => ({
  name,
  key,
  organisation: 'org_id',
  stage: 'body',
  ...options,
});

const tenant = { insertedBy: 'tenant' } as const;
const system = { insertedBy: 'system' } as const;
const opening = { ...system, stage: 'opening' } as const;
const closing = { ...system, stage: 'closing' } as const;

/** The tables, rows before those that refer to them. */
export const movedTables: readonly MovedTable[] = [
  table('organisation', ['id'], { ...opening, organisation: 'id' }),
  table('data_key', ['id'], { ...opening, entity: DataKey }),
  table('project', ['id'], { ...system, entity: Project }),
  table('app_connection', ['id'], { ...tenant, entity: AppConnection }),
  table('connection_setup_link', ['id'], { ...tenant, entity: SetupLink, unique: 'hash' }),
  table('webhook_endpoint', ['id'], { ...tenant, entity: WebhookEndpoint }),
  table('webhook_message', ['id'], { ...tenant, entity: WebhookMessage }),
  table('connection_usage', ['org_id', 'connection_id', 'hour', 'outcome', 'status_class'], {
    ...system,
    textKeys: ['outcome'],
  }),
  table('connection_usage_caller', ['org_id', 'connection_id', 'hour', 'caller', 'label'], {
    ...system,
    textKeys: ['caller', 'label'],
  }),
  table('connection_last_use', ['org_id', 'connection_id'], system),
  table('connection_status_history', ['connection_id', 'until'], system),
  table('host_outage', ['org_id', 'origin'], { ...tenant, textKeys: ['origin'] }),
  table('host_outage_history', ['org_id', 'origin', 'until'], { ...system, textKeys: ['origin'] }),
  table('host_certificate', ['org_id', 'origin'], { ...system, textKeys: ['origin'] }),
  table('mail_count', ['org_id', 'address'], { ...tenant, textKeys: ['address'] }),
  table('mail_opt_out', ['org_id', 'address'], { ...tenant, textKeys: ['address'] }),
  table('idempotent_request', ['org_id', 'caller', 'key'], {
    ...tenant,
    textKeys: ['caller', 'key'],
    entity: IdempotentRequest,
  }),
  table('audit_retention', ['org_id'], { ...system, entity: AuditRetention }),
  table('audit_event', ['org_id', 'seq'], system),
  table('api_key', ['id'], { ...closing, entity: ApiKey, unique: 'hash' }),
  table('organisation_deletion', ['id'], {
    ...closing,
    organisation: 'id',
    entity: OrganisationDeletion,
  }),
  table('audit_head', ['org_id'], { ...closing, entity: AuditHead }),
];

/** The tables that do not move, with the reason. */
export const unmovedTables: Readonly<Record<string, string>> = {
  audit_stream: 'It says which server streams audit events now.',
  audit_stream_position: 'After the import, the other database streams the whole trail.',
  connection_tag: 'A trigger fills it from app_connection.',
  rate_budget: 'It counts what is spent of the rate limits of apps within a minute.',
  rate_limit: 'It counts the requests of callers within a minute.',
};

/** Finds a table by its name. */
export function findTable(name: string): MovedTable | undefined {
  return movedTables.find((each) => each.name === name);
}
