import { Alert, Text } from '@mantine/core';
import { CodeBlock } from '../code-block.tsx';

/** A new secret of an endpoint. It is in the page until the note is closed, and nowhere else. */
export function SecretNote({ secret, children }: { secret: string; children?: string }) {
  return (
    <Alert color="green" role="status">
      <Text size="sm" fw={600}>
        Copy the secret now. It is not shown again.
      </Text>
      <Text size="sm" mb="sm">
        The receiver verifies the signature of each message with it, by any library of Standard Webhooks.{' '}
        {children}
      </Text>
      <CodeBlock text={secret} label="the secret" />
    </Alert>
  );
}
