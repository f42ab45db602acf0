import { Button, Checkbox, Container, Divider, Paper, Stack, Text, TextInput, Title } from '@mantine/core';
import { type FormEvent, useRef } from 'react';
import type { ApiError } from '../api-error.ts';
import { ErrorAlert } from '../error-alert.tsx';
import { useTitle } from '../use-title.ts';

interface SignInProps {
  apiError: ApiError | undefined;
  isBusy: boolean;
  /** Absent if there is no identity provider. */
  provider: { isReachable: boolean; onSignIn(keep: boolean): void } | undefined;
  onSignIn(key: string, keep: boolean): void;
}

const providerUnreachable: ApiError = {
  code: 'UPSTREAM_UNREACHABLE',
  message: 'The server cannot reach your identity provider.',
  issues: [],
  remedy: 'Try again later, or use an API key.',
  requestId: undefined,
};

/** The sign-in form: by identity provider, if there is one, or by API key. */
export default function SignIn({ apiError, isBusy, provider, onSignIn }: SignInProps) {
  useTitle('Sign in');
  const form = useRef<HTMLFormElement>(null);
  const readKeep = () => form.current !== null && new FormData(form.current).has('keep');
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    onSignIn(String(new FormData(event.currentTarget).get('key')).trim(), readKeep());
  };
  return (
    <Container component="main" size={460} py={{ base: 'xl', sm: 80 }}>
      <Title order={1} size="h2" mb="lg">
        App Connections
      </Title>
      <Paper withBorder p="lg" radius="md">
        <form onSubmit={submit} ref={form}>
          <Stack>
            <Title order={2} size="h4">
              Sign in
            </Title>
            {apiError && <ErrorAlert apiError={apiError} />}
            {provider && !provider.isReachable && (
              <ErrorAlert apiError={providerUnreachable} onRetry={() => location.reload()} />
            )}
            {provider?.isReachable && (
              <>
                <Button onClick={() => provider.onSignIn(readKeep())} loading={isBusy}>
                  Sign in with your identity provider
                </Button>
                <Divider label="or with an API key" />
              </>
            )}
            <TextInput
              name="key"
              type="password"
              label="API key"
              description="Starts with ack_. An administrator of your organisation can create one."
              autoComplete="off"
              spellCheck={false}
              required
            />
            <Button type="submit" variant={provider?.isReachable ? 'default' : 'filled'} loading={isBusy}>
              Sign in
            </Button>
            {provider && <Divider />}
            <Checkbox
              name="keep"
              label="Keep me signed in until I close this tab"
              description="Otherwise, reloading the page signs you out."
            />
            <Text size="sm" c="dimmed">
              {provider ? 'Keys and tokens are' : 'The key is'} stored in this tab only, never in a cookie or
              URL.
            </Text>
          </Stack>
        </form>
      </Paper>
    </Container>
  );
}
