import { storeWithEvents } from '../audit/audited-change.ts';
import { type AuditDeps, withRequestContext } from '../audit/hash-chain.ts';
import { currentTime } from '../common/clock.ts';
import { toMailbox } from './mail-limit.ts';
import { MailOptOut } from './mail-opt-out.entity.ts';

/** An address, and the organisation that sends e-mails to it. */
export interface Subscription {
  orgId: string;
  /** As `toMailbox` returns it. */
  address: string;
}

const pattern =
  /^\/unsubscribe\/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\/([\w-]{1,400})\.([\w-]{43})(?:\?|$)/;

/**
 * Returns the path of the page on which the owner of an address stops the e-mails of an organisation. It needs no credential: the MAC in
 * it shows that the server has sent it to the address.
 */
export async function toUnsubscribePath(
  { database, vault }: AuditDeps,
  orgId: string,
  address: string,
): Promise<string> {
  const subscription = { orgId, address: toMailbox(address) };
  const mac = (await vault.rowMacs(database.asSystem())).mac('unsubscribe', subscription);
  // Address and MAC share a segment of the path, which the log leaves out.
  return `/unsubscribe/${orgId}/${Buffer.from(subscription.address).toString('base64url')}.${mac}`;
}

/** Whether a URL without the base path is that of a page for unsubscribing. */
export function isUnsubscribePath(url = ''): boolean {
  return url.startsWith('/unsubscribe/');
}

/**
 * Finds the subscription that a URL names.
 *
 * @param url without the base path
 * @returns undefined if the server has not made the link
 */
export async function findSubscription(
  { database, vault }: AuditDeps,
  url = '',
): Promise<Subscription | undefined> {
  const [, orgId, encoded, mac] = pattern.exec(url) ?? [];
  if (!orgId || !encoded || !mac) return undefined;
  const subscription = { orgId, address: Buffer.from(encoded, 'base64url').toString() };
  const macs = await vault.rowMacs(database.asSystem());
  return macs.isMac(mac, 'unsubscribe', subscription) ? subscription : undefined;
}

/** Whether the owner of an address has stopped the e-mails of an organisation. */
export async function hasUnsubscribed(
  { database }: Pick<AuditDeps, 'database'>,
  orgId: string,
  address: string,
): Promise<boolean> {
  const where = { orgId, address: toMailbox(address) };
  return (await database.forOrganisation(orgId).count(MailOptOut, where)) > 0;
}

/**
 * Stops the e-mails of an organisation to an address, or resumes them, with an audit event. It does nothing if the address has that
 * state already.
 *
 * @throws AppError `ORGANISATION_DISABLED`
 */
export function setUnsubscribed(
  deps: AuditDeps,
  { orgId, address }: Subscription,
  isUnsubscribed: boolean,
): Promise<void> {
  const event = withRequestContext({
    ...{ orgId, keyId: null, subject: null, outcome: 'OK', fields: ['unsubscribed'], targetName: address },
    action: isUnsubscribed ? 'UNSUBSCRIBE_ADDRESS' : 'RESUBSCRIBE_ADDRESS',
  });
  return storeWithEvents<void>(deps, orgId, {
    prepare: async (em) => {
      const isOptedOut = (await em.count(MailOptOut, { orgId, address })) > 0;
      if (isOptedOut === isUnsubscribed) return { events: [], result: undefined };
      if (isUnsubscribed) {
        const row = { orgId, address, at: currentTime() };
        return { events: [event], inserts: [[MailOptOut, row]], result: undefined };
      }
      const removal = {
        sql: 'delete from mail_opt_out where org_id = ? and address = ?',
        params: [orgId, address],
      };
      return { events: [event], updates: [removal], result: undefined };
    },
  });
}
