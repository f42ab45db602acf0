import { Alert, Button, Text } from '@mantine/core';
import type { Problem } from './api-error.ts';

const titles: Readonly<Partial<Record<Problem['code'], string>>> = {
  OFFLINE: 'No connection',
  BAD_USER_INPUT: 'Something is to be corrected',
  UNAUTHENTICATED: 'Not signed in',
  FORBIDDEN: 'Not allowed',
  NOT_FOUND: 'Not there',
  NAME_TAKEN: 'The name is taken',
  VERSION_CONFLICT: 'Somebody else was faster',
  CREDENTIALS_REJECTED: 'The credentials were rejected',
  INSUFFICIENT_PERMISSIONS: 'The credentials may do too little',
  NOT_AN_OKTA_ORG: 'That is not Okta',
  UPSTREAM_RATE_LIMITED: 'Not judged: too many requests',
  UPSTREAM_UNREACHABLE: 'Not judged: no answer',
  HOST_NOT_ALLOWED: 'The address is not allowed',
};

/** A problem with its remedy, read out as soon as it appears. */
export function ProblemAlert({ problem, onRetry }: { problem: Problem; onRetry?: () => void }) {
  const { code, message, remedy, requestId } = problem;
  return (
    <Alert color="red" title={titles[code] ?? 'Something went wrong'} role="alert">
      <Text size="sm">{message}</Text>
      {remedy && (
        <Text size="sm" mt="xs">
          {remedy}
        </Text>
      )}
      {requestId && (
        <Text size="sm" mt="xs">
          The server's log has it under {requestId}.
        </Text>
      )}
      {onRetry && (
        <Button mt="sm" size="xs" variant="default" onClick={onRetry}>
          Try again
        </Button>
      )}
    </Alert>
  );
}
