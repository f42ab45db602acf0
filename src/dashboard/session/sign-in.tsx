import { Button, Checkbox, Container, Divider, Paper, Stack, Text, TextInput, Title } from '@mantine/core';
import { type FormEvent, useRef } from 'react';
import type { Problem } from '../api-error.ts';
import { ProblemAlert } from '../error-alert.tsx';
import { useTitle } from '../use-title.ts';

interface SignInProps {
  problem: Problem | undefined;
  isBusy: boolean;
  /** Absent: there is no identity provider. */
  provider: { isThere: boolean; onLeave(keep: boolean): void } | undefined;
  onSignIn(key: string, keep: boolean): void;
}

const away: Problem = {
  code: 'UPSTREAM_UNREACHABLE',
  message: 'The server cannot reach your identity provider.',
  issues: [],
  remedy: 'Try again later, or use an API key.',
  requestId: undefined,
};

/** Sends people to the identity provider, where there is one, or asks for an API key. */
export default function SignIn({ problem, isBusy, provider, onSignIn }: SignInProps) {
  useTitle('Sign in');
  const form = useRef<HTMLFormElement>(null);
  const isToBeKept = () => form.current !== null && new FormData(form.current).has('keep');
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    onSignIn(String(new FormData(event.currentTarget).get('key')).trim(), isToBeKept());
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
            {problem && <ProblemAlert problem={problem} />}
            {provider && !provider.isThere && (
              <ProblemAlert problem={away} onRetry={() => location.reload()} />
            )}
            {provider?.isThere && (
              <>
                <Button onClick={() => provider.onLeave(isToBeKept())} loading={isBusy}>
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
            <Button type="submit" variant={provider?.isThere ? 'default' : 'filled'} loading={isBusy}>
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
