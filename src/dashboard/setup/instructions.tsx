import { List, Paper, Stack, Text, Title } from '@mantine/core';
import { CodeBlock, Copy } from '../code-block.tsx';
import classes from '../table.module.css';
import type { Setup } from './setup-api.ts';

/** What to do in the app, with the values to find or enter there. */
export function Instructions({ setup }: { setup: Setup }) {
  const { app, method, values, jwksUrl, keys } = setup;
  return (
    <Stack gap="xl">
      {method.steps.length > 0 && (
        <section aria-labelledby="steps">
          <Title order={2} size="h4" mb="sm" id="steps">
            What to do in {app.name}
          </Title>
          <List type="ordered" spacing="sm">
            {method.steps.map((step) => (
              <List.Item key={step}>{step}</List.Item>
            ))}
          </List>
        </section>
      )}
      <section aria-labelledby="values">
        <Title order={2} size="h4" mb="sm" id="values">
          Values of this connection
        </Title>
        <Paper withBorder p="md">
          <dl className={classes.facts}>
            {values.map(({ label, values: each }) => (
              <div key={label}>
                <dt>{label}</dt>
                <dd>
                  {each.map((value) => (
                    <div key={value}>{value}</div>
                  ))}
                  <Copy text={each.join(' ')} label={`Copy ${label}`} />
                </dd>
              </div>
            ))}
          </dl>
        </Paper>
      </section>
      {jwksUrl !== null && keys.length > 0 && (
        <section aria-labelledby="keys">
          <Title order={2} size="h4" mb="sm" id="keys">
            Public key
          </Title>
          <Text mb="sm">
            Give {app.name} the URL of the public keys. Then nobody has to touch a key again, also when it is
            replaced. Public keys are no secret.
          </Text>
          <CodeBlock text={jwksUrl} label="URL of the public keys" />
          <details>
            <Text component="summary" size="sm" my="sm">
              {app.name} cannot reach this address? Copy the key itself
            </Text>
            {keys.map(({ keyId, publicJwk }) => (
              <CodeBlock
                key={keyId}
                text={JSON.stringify(publicJwk, null, 2)}
                label={`Public key ${keyId}`}
              />
            ))}
          </details>
        </section>
      )}
    </Stack>
  );
}
