import {
  Anchor,
  Card,
  Center,
  Group,
  SimpleGrid,
  Text,
  TextInput,
  Title,
  UnstyledButton,
} from '@mantine/core';
import { useState } from 'react';
import { Link } from 'wouter';
import { ErrorAlert } from '../error-alert.tsx';
import { AppIcon } from '../list/app-icon.tsx';
import { Loading } from '../loading.tsx';
import type { Connection } from '../operations.ts';
import { connectionsPath, type OptionalProjectId } from '../route.ts';
import { type AppOption, useOptions } from '../use-options.ts';
import { useTitle } from '../use-title.ts';
import { ConnectionForm } from './connection-form.tsx';
import { Created } from './created.tsx';

interface AddScreenProps {
  projectId: OptionalProjectId;
  /** Absent: the user chooses an app first. */
  app: string | undefined;
}

/** Creates a connection: choose an app, fill in the form, see the result. */
export default function AddScreen({ projectId, app }: AddScreenProps) {
  const { options, apiError, reload } = useOptions();
  const [created, setCreated] = useState<Connection>();
  const option = options?.find((option) => option.app.toLowerCase() === app);
  const list = connectionsPath(projectId);
  return (
    <>
      <Anchor component={Link} href={list} size="sm">
        ← All connections
      </Anchor>
      {apiError && <ErrorAlert apiError={apiError} onRetry={() => reload()} />}
      {created && option ? (
        <Created
          connection={created}
          option={option}
          onAnother={() => setCreated(undefined)}
          listPath={list}
        />
      ) : option ? (
        <ConnectionForm key={option.app} projectId={projectId} option={option} onCreated={setCreated} />
      ) : (
        options && <ChooseApp options={options} path={`${list}/add`} />
      )}
      {!options && !apiError && (
        <Center p="xl">
          <Loading />
        </Center>
      )}
    </>
  );
}

function ChooseApp({ options, path }: { options: readonly AppOption[]; path: string }) {
  useTitle('Add Connection');
  const [search, setSearch] = useState('');
  const matches = options.filter(({ name }) => name.toLowerCase().includes(search.trim().toLowerCase()));
  return (
    <>
      <Title order={1} size="h2" mt="xs" mb="md">
        Add Connection
      </Title>
      {options.length > 6 && (
        <TextInput
          type="search"
          label="Search"
          mb="md"
          value={search}
          onChange={(event) => setSearch(event.currentTarget.value)}
        />
      )}
      <Text mb="md">Which app do you want to connect?</Text>
      <SimpleGrid cols={{ base: 1, sm: 2, lg: 3 }} component="ul" p={0} m={0}>
        {matches.map(({ app, name, description, icon }) => (
          <Card withBorder key={app} component="li" p={0}>
            <UnstyledButton component={Link} href={`${path}/${app.toLowerCase()}`} p="md">
              <Group wrap="nowrap" align="start">
                <AppIcon name={name} icon={icon} />
                <div>
                  <Text fw={600}>{name}</Text>
                  <Text size="sm" c="dimmed">
                    {description}
                  </Text>
                </div>
              </Group>
            </UnstyledButton>
          </Card>
        ))}
      </SimpleGrid>
    </>
  );
}
