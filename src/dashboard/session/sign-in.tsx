import { Button, Checkbox, Container, Paper, Stack, Text, TextInput, Title } from '@mantine/core';
import type { FormEvent } from 'react';
import type { Problem } from '../problem.ts';
import { ProblemAlert } from '../problem-alert.tsx';
import { useTitle } from '../use-title.ts';

interface SignInProps {
  problem: Problem | undefined;
  isBusy: boolean;
  onSignIn(credential: string, keep: boolean): void;
}

/** Asks for an API key. */
export default function SignIn({ problem, isBusy, onSignIn }: SignInProps) {
  useTitle('Sign in');
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    onSignIn(String(form.get('key')).trim(), form.has('keep'));
  };
  return (
    <Container component="main" size={460} py={{ base: 'xl', sm: 80 }}>
      <Title order={1} size="h2" mb="lg">
        App Connections
      </Title>
      <Paper withBorder p="lg" radius="md">
        <form onSubmit={submit}>
          <Stack>
            <Title order={2} size="h4">
              Sign in
            </Title>
            {problem && <ProblemAlert problem={problem} />}
            <TextInput
              name="key"
              type="password"
              label="API key"
              description="It starts with ack_. An administrator of your organisation can make one."
              autoComplete="off"
              spellCheck={false}
              required
            />
            <Checkbox
              name="keep"
              label="Keep me signed in until I close this tab"
              description="Otherwise until the page is loaded again."
            />
            <Button type="submit" loading={isBusy}>
              Sign in
            </Button>
            <Text size="sm" c="dimmed">
              The key stays in this tab. It is in no cookie and in no address.
            </Text>
          </Stack>
        </form>
      </Paper>
    </Container>
  );
}
