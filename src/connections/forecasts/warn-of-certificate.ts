import type { EntityManager } from '@mikro-orm/postgresql';
import { storeWithEvents } from '../../audit/audited-change.ts';
import { serverActor } from '../../audit/hash-chain.ts';
import { currentTime } from '../../common/clock.ts';
import { toCertificateTarget } from '../certificate-target.ts';
import { dayMs, warningDays } from '../credentials/expiry.ts';
import { type Host, originSql, urlFields } from '../credentials/host.ts';
import type { ConnectionDeps } from '../deps.ts';
import { HostCertificate } from '../host-certificate.entity.ts';

/** A certificate without a warning now, and when the next one may be due: null if its row is deleted. */
interface Other {
  certificate: HostCertificate;
  next: Date | null;
}

/** How long after its end a certificate is forgotten, in days: by then, no check has seen its host for a week. */
const keptDays = 8;

/**
 * Warns that the certificate of a host ends soon: with an audit event that is stored together with the time of the next warning, so
 * that each is given once, by one server. The end itself is an outage of the host. Certificates of hosts without connections are
 * deleted.
 */
export async function warnOfCertificate(deps: ConnectionDeps, host: Host): Promise<void> {
  const { orgId, origin } = host;
  const now = currentTime();
  const other = await storeWithEvents<Other | undefined>(deps, orgId, {
    prepare: async (em) => {
      const certificate = await em.findOne(HostCertificate, { orgId, origin });
      if (!certificate || certificate.dueAt > now) return { events: [], result: undefined };
      const { current, next } = findWarnings(certificate, now);
      if (!next || !(await hasConnections(deps, em, host)))
        return { events: [], result: { certificate, next: null } };
      if (!current || certificate.warnedAt?.getTime() === current.getTime())
        return { events: [], result: { certificate, next } };
      const update = {
        sql: 'update host_certificate set warned_at = ?, due_at = ? where org_id = ? and origin = ? and due_at = ?',
        params: [current, next, orgId, origin, certificate.dueAt],
      };
      const targetName = toCertificateTarget(origin, certificate.validTo);
      const event = {
        ...{ orgId, action: 'WARN_OF_CERTIFICATE' as const, outcome: 'OK' as const, targetName },
        ...serverActor,
        fields: ['health.hostCertificate'],
      };
      return { events: [event], updates: [update], result: undefined };
    },
  });
  if (!other) return;
  const { certificate, next } = other;
  const where = { orgId, origin, dueAt: certificate.dueAt };
  const em = deps.database.forOrganisation(orgId);
  if (next) await em.nativeUpdate(HostCertificate, where, { dueAt: next });
  else await em.nativeDelete(HostCertificate, where);
}

/**
 * Finds when warnings of a certificate are due. One of a short life is renewed shortly before its end, so only the days of its last
 * third count.
 *
 * @returns `current`: when the last one was due, null if none was or the certificate has ended; `next`: when to look at it again,
 *   null if its row is deleted
 */
function findWarnings({ validFrom, validTo }: Pick<HostCertificate, 'validFrom' | 'validTo'>, now: Date) {
  const maxMs = (validTo.getTime() - validFrom.getTime()) / 3;
  const times = [
    ...warningDays.map((days) => days * dayMs).filter((ms) => ms > 0 && ms <= maxMs),
    0,
    -keptDays * dayMs,
  ].map((ms) => new Date(validTo.getTime() - ms));
  const hasEnded = validTo <= now;
  return {
    current: (!hasEnded && times.findLast((time) => time <= now)) || null,
    next: times.find((time) => time > now) ?? null,
  };
}

async function hasConnections(
  { apps }: Pick<ConnectionDeps, 'apps'>,
  em: EntityManager,
  { orgId, origin }: Host,
): Promise<boolean> {
  const found = await em.execute(
    `select from app_connection where org_id = ? and deleted_at is null and ${originSql} = ? limit 1`,
    [orgId, urlFields(apps), origin],
  );
  return found.length > 0;
}
