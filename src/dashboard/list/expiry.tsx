import { Badge } from '@mantine/core';
import type { Connection } from '../operations.ts';
import { RelativeTime } from '../relative-time.tsx';
import { Dot } from './status.tsx';

type Health = Connection['health'];

/** The end is shown from the first warning on, in milliseconds before it. */
const shownMs = 14 * 86_400_000;

/** Whether the credentials of a connection end soon, or have ended. */
export function isExpiryShown({ expiresAt, expiryReason }: Health): boolean {
  if (!expiresAt) return expiryReason !== null;
  return Date.parse(expiresAt) - Date.now() <= shownMs;
}

/** Whether the certificate of the host ends soon, or has ended. */
export function isCertificateShown({ hostCertificate }: Health): boolean {
  return hostCertificate !== null && Date.parse(hostCertificate.validTo) - Date.now() <= shownMs;
}

/** Whether the time has passed. */
export function isOver({ expiresAt }: Health): boolean {
  return expiresAt !== null && Date.parse(expiresAt) <= Date.now();
}

/** The end of the credentials as a badge, if it is near. */
export function ExpiryBadge({ health }: Pick<Connection, 'health'>) {
  if (!isExpiryShown(health)) return null;
  const color = isOver(health) && health.expiryReason === 'UNUSED' ? 'red' : 'yellow';
  return (
    <Badge color={color} variant="default" leftSection={<Dot color={color} />} tt="none" fw={600} mt={4}>
      {describeShortly(health)}
    </Badge>
  );
}

/** The end of the certificate of the host as a badge, if it is near. */
export function CertificateBadge({ health }: Pick<Connection, 'health'>) {
  if (!isCertificateShown(health)) return null;
  return (
    <Badge color="yellow" variant="default" leftSection={<Dot color="yellow" />} tt="none" fw={600} mt={4}>
      Certificate ends
    </Badge>
  );
}

function describeShortly(health: Health) {
  const { expiresAt, expiryReason } = health;
  if (!expiresAt) return 'Owner inactive';
  if (expiryReason === 'KEY_AGE') return 'Rotate key';
  if (isOver(health)) return 'Expired';
  return (
    <>
      Expires <RelativeTime at={expiresAt} isFuture />
    </>
  );
}
