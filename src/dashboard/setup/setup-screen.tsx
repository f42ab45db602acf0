import { Alert, Button, Center, Container, Group, Stack, Text, Title } from '@mantine/core';
import { type RefObject, useCallback, useEffect, useRef, useState } from 'react';
import type { ApiError } from '../api-error.ts';
import { AppIcon } from '../list/app-icon.tsx';
import { Loading } from '../loading.tsx';
import { useTitle } from '../use-title.ts';
import { Instructions } from './instructions.tsx';
import { forgetSetupSecret, type Setup, type SetupResult, sendSetupStep } from './setup-api.ts';
import { SetupForm } from './setup-form.tsx';

const incomplete: ApiError = {
  code: 'UNAUTHENTICATED',
  message: 'The address is incomplete: the part after “/setup” is missing.',
  issues: [],
  remedy: 'Open the whole link that you were sent.',
  requestId: undefined,
};

const expiry = new Intl.DateTimeFormat('en-GB', { dateStyle: 'long', timeStyle: 'short' });

/** The page of a setup link, for a person without an account: what to do in the app, and whether it works. */
export default function SetupScreen({ secret }: { secret: string | undefined }) {
  const [setup, setSetup] = useState<Setup>();
  const [isFinished, setIsFinished] = useState(false);
  const [apiError, setApiError] = useState(secret === undefined ? incomplete : undefined);
  const heading = useRef<HTMLHeadingElement>(null);
  useTitle(setup ? `Set up ${setup.app.name}` : 'Setup link');

  const open = useCallback(async () => {
    if (secret === undefined) return;
    setApiError(undefined);
    const { data, apiError } = await sendSetupStep<{ setup: Setup }>(secret, 'open');
    setApiError(apiError);
    if (data) setSetup(data.setup);
  }, [secret]);
  useEffect(() => void open(), [open]);

  const isDead = apiError?.code === 'UNAUTHENTICATED' || apiError?.code === 'NOT_FOUND';
  useEffect(() => {
    if (isDead || isFinished) {
      forgetSetupSecret();
      heading.current?.focus();
    }
  }, [isDead, isFinished]);

  const submit = async (credentials: Readonly<Record<string, string>> | undefined) => {
    const step = credentials ? 'credentials' : 'check';
    const result = await sendSetupStep<SetupResult>(secret ?? '', step, credentials && { credentials });
    if (result.data) {
      setSetup(result.data.setup);
      setIsFinished(result.data.isFinished);
    } else if (result.apiError.code === 'UNAUTHENTICATED') setApiError(result.apiError);
    return result;
  };

  return (
    <Container component="main" size="sm" py={{ base: 'lg', sm: 48 }}>
      {apiError ? (
        <Failure apiError={apiError} heading={heading} onRetry={isDead ? undefined : open} />
      ) : !setup ? (
        <Center p="xl">
          <Loading />
        </Center>
      ) : (
        <Stack gap="xl">
          <Group wrap="nowrap" align="start">
            <AppIcon name={setup.app.name} icon={setup.app.icon} />
            <Title order={1} size="h2" ref={heading} tabIndex={-1} style={{ overflowWrap: 'anywhere' }}>
              {isFinished
                ? `${setup.app.name} is connected`
                : `Connect ${setup.app.name} for ${setup.organisation}`}
            </Title>
          </Group>
          {isFinished ? (
            <Alert color="green" role="status">
              {setup.app.name} accepted the connection “{setup.connection.name}” of {setup.organisation}. This
              link no longer works, and you can close this page.
            </Alert>
          ) : (
            <>
              <Introduction setup={setup} />
              <Instructions setup={setup} />
              <SetupForm setup={setup} onSubmit={submit} />
            </>
          )}
        </Stack>
      )}
    </Container>
  );
}

function Introduction({ setup }: { setup: Setup }) {
  const { organisation, app, connection, method, expiresAt } = setup;
  return (
    <div>
      <Text style={{ overflowWrap: 'anywhere' }}>
        {organisation} asks you, as an administrator of {app.name}, to set up its connection “
        {connection.name}” ({method.label}). You need no account here.
      </Text>
      <Text size="sm" c="dimmed" mt="xs">
        This link works once, until <time dateTime={expiresAt}>{expiry.format(new Date(expiresAt))}</time>.
      </Text>
    </div>
  );
}

interface FailureProps {
  apiError: ApiError;
  heading: RefObject<HTMLHeadingElement | null>;
  onRetry: (() => void) | undefined;
}

function Failure({ apiError: { message, remedy }, heading, onRetry }: FailureProps) {
  return (
    <Stack>
      <Title order={1} size="h2" ref={heading} tabIndex={-1}>
        {onRetry ? 'This page could not be loaded' : 'This link does not work'}
      </Title>
      <Alert color="red" role="alert">
        <Text size="sm">{message}</Text>
        {remedy && (
          <Text size="sm" mt="xs">
            {remedy}
          </Text>
        )}
        {onRetry && (
          <Button variant="default" size="xs" mt="sm" onClick={onRetry}>
            Try again
          </Button>
        )}
      </Alert>
    </Stack>
  );
}
