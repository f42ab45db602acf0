import { Alert, Text } from '@mantine/core';
import type { Setup } from './setup-api.ts';

/** Why the connection does not work. */
export function Diagnosis({ setup: { verification } }: { setup: Setup }) {
  const { status, message, remedy, upstreamRequestId } = verification;
  if (message === null) return null;
  return (
    <Alert color={status === 'REJECTED' ? 'red' : 'yellow'} role="status">
      {/* Titles of yellow alerts have too little contrast. */}
      <Text fw={600} size="sm" mb="xs">
        {status === 'PENDING' ? 'Not set up yet' : 'The connection does not work'}
      </Text>
      <Text size="sm">{message}</Text>
      {remedy && (
        <Text size="sm" mt="xs">
          {remedy}
        </Text>
      )}
      {upstreamRequestId && (
        <Text size="sm" mt="xs">
          Request ID: {upstreamRequestId}
        </Text>
      )}
    </Alert>
  );
}
