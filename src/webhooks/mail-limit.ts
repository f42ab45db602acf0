import { hasTrailSql } from '../audit/trail-head.ts';
import { currentTime, currentTimeMs } from '../common/clock.ts';
import type { Database } from '../database/database.ts';
import { deleteInBatches } from '../database/delete-in-batches.ts';

/** The most e-mails of an organisation to an address in a day. What happens then waits for the next digest. */
const maxPerDay = 50;
const dayMs = 86_400_000;

/** The domains of Gmail, which ignores dots before the @. */
const gmailDomains = new Set(['gmail.com', 'googlemail.com']);

/** Returns one address for all addresses that are known to lead to the same mailbox: most providers ignore what is after +. */
export function toMailbox(address: string): string {
  const [local = '', domain = ''] = address.toLowerCase().split('@');
  const name = local.replace(/\+.*$/, '');
  return gmailDomains.has(domain) ? `${name.replaceAll('.', '')}@gmail.com` : `${name}@${domain}`;
}

/**
 * Counts an e-mail before it is sent.
 *
 * @returns undefined if it may be sent; otherwise the time from which the next one may be
 */
export async function countMail(
  { database }: { database: Database },
  orgId: string,
  address: string,
): Promise<Date | undefined> {
  const em = database.forOrganisation(orgId);
  const key = toMailbox(address);
  const now = currentTime();
  const dayAgo = new Date(now.getTime() - dayMs);
  const counted = await em.execute(
    `insert into mail_count as known (org_id, address, since, sent) values (?, ?, ?, 1)
      on conflict (org_id, address) do update set
        sent = case when known.since <= ? then 1 else known.sent + 1 end,
        since = case when known.since <= ? then excluded.since else known.since end
      where known.since <= ? or known.sent < ${maxPerDay} returning 1`,
    [orgId, key, now, dayAgo, dayAgo, dayAgo],
  );
  if (counted.length > 0) return undefined;
  const [first] = await em.execute<{ since: Date | string }[]>(
    'select since from mail_count where org_id = ? and address = ?',
    [orgId, key],
  );
  return new Date((first ? new Date(first.since).getTime() : now.getTime()) + dayMs);
}

/** Deletes counts that no longer limit anything. */
export async function purgeMailCounts(
  { database }: { database: Pick<Database, 'asSystem'> },
  signal?: AbortSignal,
): Promise<void> {
  const condition = `since < ? and ${hasTrailSql('mail_count.org_id')}`;
  const params = [new Date(currentTimeMs() - dayMs)];
  await deleteInBatches(database, { table: 'mail_count', condition, orderBy: 'since', params }, signal);
}
