import type { EntityManager } from '@mikro-orm/postgresql';
import { currentTime } from '../../common/clock.ts';
import { AppError } from '../../common/errors.ts';
import { typedKeys } from '../../common/typed-keys.ts';
import type { SqlStatement } from '../../database/database.ts';
import { updateRow } from '../../database/row-statements.ts';
import type { RowMacs } from '../../encryption/row-macs.ts';
import type { Vault } from '../../encryption/vault.ts';
import { ApiKey } from '../../identity/api-key.entity.ts';
import { SetupLink } from '../setup-link.entity.ts';

/** The states of a setup link, with their descriptions in the GraphQL schema. */
export const setupLinkStatuses = {
  ACTIVE: 'It can be used.',
  FINISHED: 'It has led to working credentials, and is used up.',
  REVOKED: 'It was revoked, or the API key that created it.',
  EXPIRED: 'Its time has passed.',
} as const;

export type SetupLinkStatus = keyof typeof setupLinkStatuses;

/** The state of a setup link now. */
export function getSetupLinkStatus({ finishedAt, revokedAt, expiresAt }: SetupLink): SetupLinkStatus {
  if (finishedAt) return 'FINISHED';
  if (revokedAt) return 'REVOKED';
  return expiresAt > currentTime() ? 'ACTIVE' : 'EXPIRED';
}

/**
 * Returns setup links as the API keys that created them leave them: with such a key, its links are revoked. A row of a key that was
 * changed or deleted outside this server gives no right.
 *
 * @param links verified rows
 */
export async function withRevokedKeys(
  em: EntityManager,
  macs: RowMacs,
  links: readonly SetupLink[],
): Promise<SetupLink[]> {
  const ids = links.flatMap(({ createdByKeyId: id }) => id ?? []);
  if (ids.length === 0) return [...links];
  const [{ orgId } = { orgId: '' }] = links;
  const keys = await em.find(ApiKey, { orgId, id: { $in: [...new Set(ids)] } }, { refresh: true });
  const authentic = new Map(
    keys.flatMap((key) => (macs.isAuthentic(em, ApiKey, key) ? [[key.id, key]] : [])),
  );
  return links.map((link) => {
    if (link.createdByKeyId == null) return link;
    const key = authentic.get(link.createdByKeyId);
    const revokedAt = link.revokedAt ?? (key ? key.revokedAt : link.createdAt);
    return { ...link, revokedAt };
  });
}

/**
 * Finds a setup link to change it. The row is verified, so that it can be signed again.
 *
 * @throws AppError `NOT_FOUND`
 * @throws MacMismatch if the row was changed outside this server
 */
export async function findSetupLink(
  em: EntityManager,
  vault: Vault,
  { id, orgId }: Pick<SetupLink, 'id' | 'orgId'>,
): Promise<SetupLink> {
  const link = await em.findOne(SetupLink, { id, orgId }, { refresh: true });
  if (!link) throw setupLinkNotFound();
  const macs = await vault.rowMacs(em);
  macs.verify(em, SetupLink, link);
  const [current = link] = await withRevokedKeys(em, macs, [link]);
  return current;
}

/** Builds the statement that stores a time of a setup link, with the new MAC. */
export async function updateSetupLink(
  em: EntityManager,
  vault: Vault,
  link: SetupLink,
  changes: Partial<Pick<SetupLink, 'openedAt' | 'finishedAt' | 'revokedAt'>>,
): Promise<{ changed: SetupLink; update: SqlStatement }> {
  const macs = await vault.rowMacs(em);
  const changed = macs.signed(em, SetupLink, { ...link, ...changes });
  return { changed, update: updateRow(em, SetupLink, changed, [...typedKeys(changes), 'mac']) };
}

/** The error for a setup link that does not exist or whose connection the caller may not see. */
export function setupLinkNotFound(): AppError {
  return new AppError('NOT_FOUND', 'There is no such setup link.', {
    remedy: 'Check the id. `connectionSetupLinks` lists the setup links of a connection.',
  });
}
