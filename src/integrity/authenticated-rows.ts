import { raw } from '@mikro-orm/core';
import type { EntityClass, EntityManager, FilterQuery } from '@mikro-orm/postgresql';
import { AuditHead } from '../audit/audit-event.entity.ts';
import { AuditRetention } from '../audit/audit-retention.entity.ts';
import { AuditStreamPosition } from '../audit/audit-stream.entity.ts';
import { AppConnection } from '../connections/app-connection.entity.ts';
import { IdempotentRequest } from '../connections/idempotency.entity.ts';
import { SetupLink } from '../connections/setup-link.entity.ts';
import type { Database } from '../database/database.ts';
import { DataKey } from '../encryption/data-key.entity.ts';
import { type Authenticated, rowId } from '../encryption/row-macs.ts';
import type { Vault } from '../encryption/vault.ts';
import { ApiKey } from '../identity/api-key.entity.ts';
import { Project } from '../identity/organisation.entity.ts';
import { OrganisationDeletion } from '../identity/organisation-deletion.entity.ts';
import { WebhookEndpoint } from '../webhooks/webhook-endpoint.entity.ts';
import { WebhookMessage } from '../webhooks/webhook-message.entity.ts';

/** Every entity whose rows carry a MAC. */
export const authenticatedEntities: readonly EntityClass<Authenticated>[] = [
  ApiKey,
  AppConnection,
  AuditHead,
  AuditRetention,
  AuditStreamPosition,
  DataKey,
  IdempotentRequest,
  OrganisationDeletion,
  Project,
  SetupLink,
  WebhookEndpoint,
  WebhookMessage,
];

const batchRows = 500;

/** Reads the rows of an entity in batches, with lazy properties, ordered by primary key. */
export async function* readBatches(
  fork: () => EntityManager,
  entity: EntityClass<Authenticated>,
  where: FilterQuery<Authenticated>,
): AsyncGenerator<Authenticated[]> {
  const { primaryKeys, properties, props } = fork().getMetadata(entity);
  const columns = primaryKeys.map((name) => `"${properties[name].fieldNames[0]}"`).join(', ');
  const placeholders = primaryKeys.map(() => '?').join(', ');
  const lazy = props.filter((prop) => prop.lazy).map(({ name }) => name);
  for (let last: Authenticated | undefined, length = batchRows; length === batchRows; ) {
    const em = fork();
    const after = last
      ? { [raw(`(${columns}) > (${placeholders})`, Object.values(rowId(em.getMetadata(entity), last)))]: [] }
      : {};
    const rows = await em.find(
      entity,
      { $and: [where, after] },
      {
        populate: lazy as never,
        orderBy: Object.fromEntries(primaryKeys.map((name) => [name, 'asc'])),
        limit: batchRows,
      },
    );
    yield rows;
    length = rows.length;
    last = rows.at(-1);
  }
}

/** A row whose MAC does not match. */
export interface TamperedRow {
  table: string;
  /** The columns of its primary key. */
  id: Record<string, unknown>;
}

/** Verifies every row that carries a MAC. */
export async function* verifyRows(database: Database, vault: Vault): AsyncGenerator<TamperedRow> {
  const macs = await vault.rowMacs(database.asSystem());
  for (const entity of authenticatedEntities) {
    const em = database.asSystem();
    const meta = em.getMetadata(entity);
    for await (const rows of readBatches(() => database.asSystem(), entity, {})) {
      for (const row of rows) {
        if (!macs.isAuthentic(em, entity, row)) yield { table: meta.tableName, id: rowId(meta, row) };
      }
    }
  }
}
