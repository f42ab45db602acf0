import { Alert, Button, Group, Loader, Text } from '@mantine/core';
import { isHostDown, StatusBadge } from '../list/status.tsx';
import { RelativeTime } from '../relative-time.tsx';
import type { DetailedConnection } from './operations.ts';

interface HealthProps {
  connection: DetailedConnection;
  isVerifying: boolean;
  /** Absent: the caller may not verify. */
  onVerify: (() => void) | undefined;
}

/** Whether the connection works, with the reason and the remedy of a failure. */
export function Health({ connection, isVerifying, onVerify }: HealthProps) {
  const { verification, health } = connection;
  const { status, checkedAt, failingSince, message, remedy, oktaRequestId } = verification;
  return (
    <>
      <Group gap="sm" role="status" mih={36}>
        <StatusBadge status={health.status} />
        {isVerifying ? (
          <Group gap="xs">
            <Loader size="xs" aria-hidden />
            <Text size="sm">Verifying…</Text>
          </Group>
        ) : (
          <Text size="sm" c="dimmed">
            {checkedAt ? (
              <>
                checked <RelativeTime at={checkedAt} />
              </>
            ) : (
              'never checked'
            )}
          </Text>
        )}
        {onVerify && !isVerifying && (
          <Button variant="default" size="compact-sm" onClick={onVerify}>
            Verify now
          </Button>
        )}
      </Group>
      {isHostDown(connection) && (
        <Alert color="yellow" mt="sm">
          <Text size="sm">
            The host does not answer
            {health.since && (
              <>
                {' '}
                since <RelativeTime at={health.since} />
              </>
            )}
            . The credentials are not to blame, and every connection to this host is affected.
          </Text>
        </Alert>
      )}
      {message && (
        <Alert color={status === 'REJECTED' ? 'red' : 'yellow'} mt="sm">
          <Text size="sm">{message}</Text>
          {remedy && (
            <Text size="sm" mt="xs">
              {remedy}
            </Text>
          )}
          {failingSince && (
            <Text size="sm" mt="xs">
              Failing since <RelativeTime at={failingSince} />.
            </Text>
          )}
          {oktaRequestId && (
            <Text size="sm" mt="xs">
              Okta request ID: {oktaRequestId}
            </Text>
          )}
        </Alert>
      )}
    </>
  );
}

/** When the connection is checked, and when it last worked, as facts. */
export function toHealthRows(connection: DetailedConnection) {
  const { lastCheckAt, lastGoodAt, since, hostCertificate, checkDelay } = connection.health;
  return [
    ['Failing since', showTime(since)],
    ['Last worked', showTime(lastGoodAt) ?? 'Never'],
    ['Last check', showTime(lastCheckAt) ?? 'Never'],
    ['Next check', describeNextCheck(connection)],
    ['Check is late', checkDelay && <Delay {...checkDelay} />],
    ['Certificate of the host', hostCertificate && <CertificateEnd {...hostCertificate} />],
  ] as const;
}

function CertificateEnd({ validTo }: { validTo: string }) {
  const isEnded = Date.parse(validTo) <= Date.now();
  return (
    <>
      {isEnded ? 'Ended' : 'Ends'} <RelativeTime at={validTo} isFuture={!isEnded} />
    </>
  );
}

function Delay({ since, message }: { since: string; message: string }) {
  return (
    <>
      Due <RelativeTime at={since} />. {message}
    </>
  );
}

function showTime(at: string | null) {
  return at && <RelativeTime at={at} />;
}

const tokenExpiry = 'Okta API tokens expire after 30 days without a request.';

function describeNextCheck({ health, checkEvery, method }: DetailedConnection) {
  const { nextCheckAt, status } = health;
  const isToken = method === 'API_TOKEN';
  if (checkEvery === 0) return isToken ? `Checks are off. ${tokenExpiry}` : 'Checks are off';
  if (!nextCheckAt && (status === 'REJECTED' || status === 'PENDING'))
    return 'None until the credentials work';
  return (
    <>
      {nextCheckAt ? (
        <RelativeTime at={nextCheckAt} isFuture />
      ) : (
        `Within ${status === 'VERIFIED' ? `${checkEvery} h` : 'an hour'}`
      )}
      {isToken && `. It also keeps the API token alive. ${tokenExpiry}`}
    </>
  );
}
