import { Alert, Anchor, Center, Group, Text, Title } from '@mantine/core';
import { useCallback, useState } from 'react';
import { useQuery } from 'urql';
import { Link, Redirect } from 'wouter';
import { parseError } from '../api-error.ts';
import { describeCaller } from '../callers-table.tsx';
import { isUsable } from '../client-validation.ts';
import { ConnectionDetails } from '../connection-details.tsx';
import { ErrorAlert } from '../error-alert.tsx';
import { AppIcon } from '../list/app-icon.tsx';
import { RowMenu } from '../list/row-menu.tsx';
import { useActions } from '../list/use-actions.tsx';
import { useConnectionEvents } from '../list/use-connection-events.ts';
import { Loading } from '../loading.tsx';
import { RelativeTime } from '../relative-time.tsx';
import { connectionPath, connectionsPath, type OptionalProjectId } from '../route.ts';
import { useSession } from '../session/session.ts';
import { getLabels, useOptions } from '../use-options.ts';
import { useTitle } from '../use-title.ts';
import { ConnectionKeys } from './connection-keys.tsx';
import { ConnectionTabs } from './connection-tabs.tsx';
import { Conversion } from './conversion.tsx';
import { CertificateAlert, ExpiryAlert } from './expiry-alert.tsx';
import { Health, toHealthRows } from './health.tsx';
import { KeyRotation } from './key-rotation.tsx';
import { Notes } from './notes.tsx';
import { connectionQuery, type DetailedConnection } from './operations.ts';
import { StatusHistory } from './status-history.tsx';
import { toDetailRows, VerificationWarnings } from './verification-details.tsx';

interface ConnectionScreenProps {
  projectId: OptionalProjectId;
  id: string;
  tab: string | undefined;
}

/** A connection: what it is, whether its credentials work, what may be sent through it, and what was. Kept up to date. */
export default function ConnectionScreen({ projectId, id, tab }: ConnectionScreenProps) {
  const { scopes } = useSession().viewer;
  const [{ data, error }, refetch] = useQuery({
    query: connectionQuery,
    variables: { id },
    requestPolicy: 'cache-and-network',
  });
  const { options = [] } = useOptions();
  const reload = useCallback(() => refetch({ requestPolicy: 'network-only' }), [refetch]);
  const isLive = useConnectionEvents(projectId, reload);
  const { verifying, act, dialogs, outcome } = useActions(options);
  const apiError = error && parseError(error);
  const isMissing = apiError?.code === 'NOT_FOUND';
  /** Stays on screen, with what was typed, while the server cannot be reached. */
  const [known, setKnown] = useState<DetailedConnection>();
  const loaded = data?.appConnection;
  if (loaded && loaded !== known) setKnown(loaded);
  const connection = isMissing ? undefined : (loaded ?? known);
  useTitle(connection?.name ?? 'Connection');

  // An address with the project of another connection.
  if (connection && connection.projectId !== projectId) {
    return <Redirect to={connectionPath(connection.projectId, id, tab)} replace />;
  }
  const onVerify =
    connection && scopes.includes('CONNECTIONS_VERIFY') && !verifying.has(id)
      ? () => act('verify', connection)
      : undefined;
  const { appName, icon } = connection ? getLabels(connection, options) : {};
  return (
    <>
      <Anchor component={Link} href={connectionsPath(projectId)} size="sm">
        ← All connections
      </Anchor>
      {connection && appName && (
        <Group justify="space-between" wrap="nowrap" mt="xs" mb="md">
          <Group wrap="nowrap" miw={0}>
            <AppIcon name={appName} icon={icon} />
            <div style={{ minWidth: 0 }}>
              <Title order={1} size="h2" style={{ overflowWrap: 'anywhere' }}>
                {connection.name}
              </Title>
              <Text size="sm" c="dimmed" role="status">
                {isLive
                  ? 'Live updates are on.'
                  : 'Live updates are off. The page refreshes every 10 seconds.'}
              </Text>
            </div>
          </Group>
          <RowMenu connection={connection} onAction={act} />
        </Group>
      )}
      {outcome}
      {apiError && !isMissing && <ErrorAlert apiError={apiError} onRetry={reload} />}
      {isMissing && (
        <Alert color="gray" role="alert" mt="md" title="There is no such connection">
          It was deleted, or you do not have access to it.
        </Alert>
      )}
      {!connection && !apiError && (
        <Center p="xl">
          <Loading />
        </Center>
      )}
      {connection && appName && (
        <>
          <Health
            connection={connection}
            isVerifying={verifying.has(id)}
            onVerify={scopes.includes('CONNECTIONS_VERIFY') ? () => act('verify', connection) : undefined}
          />
          <ExpiryAlert connection={connection} />
          <CertificateAlert connection={connection} />
          <VerificationWarnings details={connection.verification.details} />
          <div style={{ margin: 'var(--mantine-spacing-md) 0 var(--mantine-spacing-xl)' }}>
            <ConnectionDetails
              connection={connection}
              appName={appName}
              more={[
                ...toDetailRows(connection.verification.details),
                ...toHealthRows(connection),
                ...toUseRows(connection),
              ]}
            />
          </div>
          <Notes connection={connection} onChanged={reload} />
          <StatusHistory history={connection.health.history} />
          <ConnectionKeys
            credentials={connection.credentials}
            isPlatformManagedCredentials={connection.isPlatformManagedCredentials}
            appName={appName}
            title="Public keys"
          />
          <KeyRotation connection={connection} appName={appName} onVerify={onVerify} onChanged={reload} />
          <Conversion
            connection={connection}
            options={options}
            appName={appName}
            onVerify={onVerify}
            onChanged={reload}
          />
          {isUsable(connection.app, connection.method) ? (
            <ConnectionTabs connection={connection} appName={appName} tab={tab} onChanged={reload} />
          ) : (
            <Text c="dimmed">Requests cannot be sent through connections to {appName} yet.</Text>
          )}
        </>
      )}
      {dialogs}
    </>
  );
}

function toUseRows({ lastUsedAt, lastUsedBy }: DetailedConnection) {
  const lastUse = lastUsedAt && (
    <>
      <RelativeTime at={lastUsedAt} />
      {lastUsedBy && ` by ${describeCaller(lastUsedBy)}`}
    </>
  );
  return [['Last used', lastUse ?? 'Never']] as const;
}
