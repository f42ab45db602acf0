import { Group, Paper, Stack, Text, Title } from '@mantine/core';
import { CodeBlock } from '../code-block.tsx';
import { RelativeTime } from '../relative-time.tsx';
import classes from '../table.module.css';
import { toWords } from '../use-audit-events.ts';
import type { DetailedConnection } from './operations.ts';

interface ConnectionKeysProps {
  credentials:
    | DetailedConnection['credentials']
    | NonNullable<DetailedConnection['conversion']>['credentials'];
  isPlatformManagedCredentials: boolean;
  appName: string;
  title: string;
}

/** The public keys of credentials, for the person who administers the app; nothing for credentials without keys. */
export function ConnectionKeys(props: ConnectionKeysProps) {
  const { credentials, isPlatformManagedCredentials, appName, title } = props;
  if (!('keys' in credentials)) return null;
  const { clientId, scopes, jwksUrl, keys } = credentials;
  return (
    <Stack component="section" gap="sm" mb="xl" aria-label={title}>
      <Title order={2} size="h4">
        {title}
      </Title>
      <Paper withBorder p="md">
        <dl className={classes.facts}>
          <div>
            <dt>Client ID</dt>
            <dd>{clientId ?? 'Not known yet'}</dd>
          </div>
          <div>
            <dt>Scopes</dt>
            <dd>{scopes.join(', ')}</dd>
          </div>
        </dl>
      </Paper>
      <Text size="sm">
        {isPlatformManagedCredentials
          ? `This server made the key, and nobody has seen its private part. Give ${appName} this address, from which it fetches the public keys.`
          : `${appName} can fetch the public keys from this address.`}
      </Text>
      <CodeBlock text={jwksUrl} label="URL of the public keys" />
      {keys.map(({ keyId, publicJwk, createdAt, state }) => (
        <details key={keyId}>
          <summary>
            <Group component="span" display="inline-flex" gap="xs">
              <Text span fw={600}>
                {toWords(state)}
              </Text>
              <Text span size="sm" style={{ overflowWrap: 'anywhere' }}>
                {keyId}, created <RelativeTime at={createdAt} />
              </Text>
            </Group>
          </summary>
          <CodeBlock text={JSON.stringify(publicJwk, null, 2)} label={`public key ${keyId}`} />
        </details>
      ))}
    </Stack>
  );
}
