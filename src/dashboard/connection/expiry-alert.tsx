import { Alert, Text } from '@mantine/core';
import { isCertificateShown, isExpiryShown, isOver } from '../list/expiry.tsx';
import { RelativeTime } from '../relative-time.tsx';
import type { DetailedConnection } from './operations.ts';

/** The end of the credentials in a sentence, with what to do, if it is near. */
export function ExpiryAlert({ connection: { health, verification } }: { connection: DetailedConnection }) {
  // The warnings of the last verification say more about the owner.
  const isWarned = health.expiryReason === 'OWNER_INACTIVE' && verification.details?.warnings.length;
  if (!isExpiryShown(health) || isWarned) return null;
  return (
    <Alert color="yellow" mt="sm">
      <Text size="sm">
        <Sentence health={health} />
      </Text>
    </Alert>
  );
}

/** The end of the certificate of the host in a sentence, with what to do, if it is near. */
export function CertificateAlert({ connection: { health } }: { connection: DetailedConnection }) {
  if (!health.hostCertificate || !isCertificateShown(health)) return null;
  const at = health.hostCertificate.validTo;
  const isEnded = Date.parse(at) <= Date.now();
  return (
    <Alert color="yellow" mt="sm">
      <Text size="sm">
        The certificate of the host {isEnded ? 'ended' : 'ends'} <RelativeTime at={at} isFuture={!isEnded} />.
        The administrator of the host has to renew it. No connection to the host works with a certificate that
        has ended.
      </Text>
    </Alert>
  );
}

function Sentence({ health }: Pick<DetailedConnection, 'health'>) {
  const { expiresAt, expiryReason } = health;
  if (!expiresAt)
    return 'The owner of the credentials is no longer active, so they can end at any time. Replace them by those of another owner.';
  const isEnded = isOver(health);
  const time = <RelativeTime at={expiresAt} isFuture={!isEnded} />;
  if (expiryReason === 'KEY_AGE')
    return (
      <>
        The key {isEnded ? 'was' : 'is'} due for a rotation {time}, and nothing replaces it. It still works.
        Rotate it, or register the new key.
      </>
    );
  if (isEnded)
    return (
      <>
        The credentials have probably expired {time}, because they were not used. Verify the connection, and
        replace them if they are rejected.
      </>
    );
  return (
    <>
      The credentials expire {time} unless they are used. Turn on the checks of the connection, or verify it.
    </>
  );
}
