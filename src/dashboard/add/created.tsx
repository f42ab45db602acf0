import { Alert, Button, Group, Stack, Tabs, Text, Title } from '@mantine/core';
import { useEffect, useRef } from 'react';
import { Link } from 'wouter';
import { CodeBlock, Copy } from '../code-block.tsx';
import { ConnectionDetails } from '../connection-details.tsx';
import type { Connection } from '../operations.ts';
import { connectionPath } from '../route.ts';
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
  const { id, name, verification } = connection;
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
          title={
            verification.status === 'PENDING'
              ? `${name} is saved, and ${option.name} does not know its key yet`
              : `${name} is saved, but ${option.name} could not be reached`
          }
        >
          <Text size="sm">{verification.message}</Text>
          <Text size="sm" mt="xs">
            {verification.remedy}
          </Text>
        </Alert>
      )}
      <ConnectionDetails connection={connection} appName={option.name} />
      <Group>
        <Copy text={id} label="Copy ID" />
        <Button component={Link} href={connectionPath(connection.projectId, id)}>
          Open the connection
        </Button>
        <Button component={Link} href={listPath} variant="default">
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
          <CodeBlock text={toGraphQL(connection, option)} label="GraphQL" />
        </Tabs.Panel>
        <Tabs.Panel value="curl" pt="md">
          <CodeBlock text={toCurl(connection, option)} label="curl" />
        </Tabs.Panel>
      </Tabs>
    </Stack>
  );
}
