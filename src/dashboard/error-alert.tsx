import { Alert, Button, Text } from '@mantine/core';
import type { ApiError } from './api-error.ts';

const titles: Readonly<Partial<Record<ApiError['code'], string>>> = {
  OFFLINE: 'Network error',
  BAD_USER_INPUT: 'Please check your input',
  UNAUTHENTICATED: 'Not signed in',
  FORBIDDEN: 'Not allowed',
  ORGANISATION_DISABLED: 'Organisation disabled',
  NOT_FOUND: 'Not found',
  NAME_TAKEN: 'Name already in use',
  CONNECTION_IN_USE: 'The connection is in use',
  VERSION_CONFLICT: 'Changed by someone else',
  CREDENTIALS_REJECTED: 'Credentials rejected',
  INSUFFICIENT_PERMISSIONS: 'Insufficient permissions',
  NOT_AN_OKTA_ORG: 'Not an Okta organisation',
  UPSTREAM_RATE_LIMITED: 'Rate limited by the app',
  UPSTREAM_UNREACHABLE: 'No response from the app',
  USE_DENIED: 'Denied by the use policy',
  HOST_NOT_ALLOWED: 'Host not allowed',
};

/** An error with its remedy, which screen readers announce as soon as it appears. */
export function ErrorAlert({ apiError, onRetry }: { apiError: ApiError; onRetry?: () => void }) {
  const { code, message, remedy, requestId } = apiError;
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
          Request ID in the server log: {requestId}
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
