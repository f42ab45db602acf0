import { Alert, Button, Group, Loader, Text } from '@mantine/core';
import { StatusBadge } from '../list/status.tsx';
import type { Connection } from '../operations.ts';
import { RelativeTime } from '../relative-time.tsx';

interface HealthProps extends Pick<Connection, 'verification'> {
  isVerifying: boolean;
  /** Absent: the caller may not verify. */
  onVerify: (() => void) | undefined;
}

/** The result of the last verification, with the reason and the remedy of a failure. */
export function Health({ verification, isVerifying, onVerify }: HealthProps) {
  const { status, checkedAt, failingSince, message, remedy, oktaRequestId } = verification;
  return (
    <>
      <Group gap="sm" role="status" mih={36}>
        <StatusBadge status={status} />
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
