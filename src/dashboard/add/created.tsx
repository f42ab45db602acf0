import { Alert, Button, Code, CopyButton, Group, Paper, Stack, Tabs, Text, Title } from '@mantine/core';
import { useEffect, useRef } from 'react';
import { Link } from 'wouter';
import type { Connection } from '../operations.ts';
import classes from '../table.module.css';
import type { AppOption } from '../use-options.ts';
import { useTitle } from '../use-title.ts';
import { toCurl, toGraphQL } from './code-samples.ts';

interface CreatedProps {
  connection: Connection;
  option: AppOption;
  onAnother(): void;
  listPath: string;
}

/** The created connection, with code samples that create it. */
export function Created({ connection, option, onAnother, listPath }: CreatedProps) {
  useTitle('Connection created');
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), []);
  const { id, name, description, credentials, verification } = connection;
  // Other apps have other types of credentials.
  const tokenOwner = 'tokenOwner' in credentials ? credentials.tokenOwner : null;
  const { login, id: ownerId, status } = tokenOwner ?? {};
  const rows = [
    ['Name', name],
    ['Description', description],
    ['App', option.name],
    ['Instance URL', credentials.instanceUrl],
    [
      `Token owner in ${option.name}`,
      ownerId && `${login ?? ownerId}${status ? ` (${status.toLowerCase()})` : ''}`,
    ],
    ['ID', id],
  ].filter(([, value]) => value);
  return (
    <Stack>
      <Title order={1} size="h2" mt="xs" ref={heading} tabIndex={-1}>
        Connection created
      </Title>
      {verification.status === 'VERIFIED' ? (
        <Alert color="green" role="status">
          {option.name} accepted the credentials. The connection is ready to use.
        </Alert>
      ) : (
        <Alert
          color="yellow"
          role="status"
          title={`${name} is saved, but ${option.name} could not be reached`}
        >
          <Text size="sm">{verification.message}</Text>
          <Text size="sm" mt="xs">
            {verification.remedy}
          </Text>
        </Alert>
      )}
      <Paper withBorder p="md">
        <table className={classes.table}>
          <tbody>
            {rows.map(([label, value]) => (
              <tr key={label}>
                <th scope="row">{label}</th>
                <td style={{ overflowWrap: 'anywhere' }}>{value}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Paper>
      <Group>
        <Copy text={id} label="Copy ID" />
        <Button component={Link} href={listPath}>
          All connections
        </Button>
        <Button variant="default" onClick={onAnother}>
          Add another
        </Button>
      </Group>
      <Title order={2} size="h4" mt="md">
        Create this connection with the API
      </Title>
      <Tabs defaultValue="graphql" keepMounted={false}>
        <Tabs.List aria-label="Code samples">
          <Tabs.Tab value="graphql">GraphQL</Tabs.Tab>
          <Tabs.Tab value="curl">curl</Tabs.Tab>
        </Tabs.List>
        <Tabs.Panel value="graphql" pt="md">
          <Script text={toGraphQL(connection, option)} label="GraphQL" />
        </Tabs.Panel>
        <Tabs.Panel value="curl" pt="md">
          <Script text={toCurl(connection, option)} label="curl" />
        </Tabs.Panel>
      </Tabs>
    </Stack>
  );
}

function Script({ text, label }: { text: string; label: string }) {
  return (
    <Stack gap="xs" align="start">
      <Code
        block
        tabIndex={0}
        aria-label={`${label} code sample`}
        role="region"
        w="100%"
        className={classes.code}
      >
        {text}
      </Code>
      <Copy text={text} label={`Copy ${label}`} />
    </Stack>
  );
}

function Copy({ text, label }: { text: string; label: string }) {
  return (
    <CopyButton value={text}>
      {({ copied, copy }) => (
        <Button variant="default" onClick={copy}>
          {copied ? 'Copied' : label}
        </Button>
      )}
    </CopyButton>
  );
}
