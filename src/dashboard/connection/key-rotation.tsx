import { Alert, Button, Group, Stack, Text, Title } from '@mantine/core';
import { useState } from 'react';
import { useClient } from 'urql';
import type { ApiError } from '../api-error.ts';
import { buildRotateMutation } from '../app-mutations.ts';
import { toTypeName } from '../client-validation.ts';
import { CodeBlock } from '../code-block.tsx';
import { ErrorAlert } from '../error-alert.tsx';
import { runMutation } from '../run-mutation.ts';
import { useSession } from '../session/session.ts';
import type { DetailedConnection } from './operations.ts';

interface KeyRotationProps {
  connection: DetailedConnection;
  appName: string;
  /** Absent: the caller may not verify, or a verification runs. */
  onVerify: (() => void) | undefined;
  /** Called after a change. */
  onChanged(): void;
}

/** The button that rotates the key of a connection, and what is to do until the app accepts the new one. */
export function KeyRotation({ connection, appName, onVerify, onChanged }: KeyRotationProps) {
  const { id, credentials, isPlatformManagedCredentials } = connection;
  const canWrite = useSession().viewer.scopes.includes('CONNECTIONS_WRITE');
  const client = useClient();
  const [apiError, setApiError] = useState<ApiError>();
  const [isRotating, setIsRotating] = useState(false);
  const [isRotated, setIsRotated] = useState(false);
  if (!('keys' in credentials)) return null;
  const { keyRegistrationFailure: failure } = credentials;
  const notice = failure && (
    <Alert color="yellow" w="100%">
      <Text size="sm">{failure.message}</Text>
      <Text size="sm" mt="xs">
        {failure.remedy}
      </Text>
    </Alert>
  );
  // Until the app has accepted the first key, there is nothing to rotate.
  const isRotatable =
    isPlatformManagedCredentials && credentials.keys.some(({ state }) => state === 'ACTIVE');
  if (!isRotatable) return notice ?? null;
  const pending = credentials.keys.find(({ state }) => state === 'PENDING');
  const rotate = async () => {
    setIsRotating(true);
    const result = await runMutation(client, buildRotateMutation(toTypeName(connection)), { id });
    setIsRotating(false);
    setApiError(result?.apiError);
    setIsRotated(result?.apiError === undefined);
    onChanged();
  };
  return (
    <Stack component="section" gap="sm" mb="xl" align="start" aria-label="Rotation of the key">
      {apiError && <ErrorAlert apiError={apiError} />}
      <div role="status">
        {isRotated && !pending && (
          <Alert color="green">{appName} has accepted the new key, which is in use now.</Alert>
        )}
      </div>
      {notice}
      {pending && (
        <>
          <Title order={2} size="h4">
            New key
          </Title>
          <Text size="sm">
            The connection uses the old key until {appName} accepts the new one. If {appName} fetches the keys
            from the URL above, there is nothing to do. Otherwise add this key in {appName}, and leave the old
            one there until the new one is active.
          </Text>
          <CodeBlock text={JSON.stringify(pending.publicJwk, null, 2)} label="new public key" />
        </>
      )}
      <Group>
        {pending && onVerify && (
          <Button size="compact-sm" onClick={onVerify}>
            Check now
          </Button>
        )}
        {canWrite && !pending && (
          <Button variant="default" size="compact-sm" onClick={rotate} disabled={isRotating}>
            Rotate key
          </Button>
        )}
      </Group>
    </Stack>
  );
}
