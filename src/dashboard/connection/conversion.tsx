import { Alert, Button, Group, Stack, Text, Title } from '@mantine/core';
import { lazy, Suspense, useState } from 'react';
import { useClient } from 'urql';
import type { ApiError } from '../api-error.ts';
import { findConversionOption } from '../client-validation.ts';
import { cancelConversionMutation } from '../dialogs/conversion-operations.ts';
import { ErrorAlert } from '../error-alert.tsx';
import { runMutation } from '../run-mutation.ts';
import { useSession } from '../session/session.ts';
import type { AppOption } from '../use-options.ts';
import { ConnectionKeys } from './connection-keys.tsx';
import type { DetailedConnection } from './operations.ts';

const ConvertDialog = lazy(() => import('../dialogs/convert-dialog.tsx'));

interface ConversionProps {
  connection: DetailedConnection;
  options: readonly AppOption[];
  appName: string;
  /** Absent: the caller may not verify, or a verification runs. */
  onVerify: (() => void) | undefined;
  /** Called after a change. */
  onChanged(): void;
}

/** The pending conversion of a connection to another method, or the button that starts one. */
export function Conversion({ connection, options, appName, onVerify, onChanged }: ConversionProps) {
  const { conversion } = connection;
  const canWrite = useSession().viewer.scopes.includes('CONNECTIONS_WRITE');
  const [isOpen, setIsOpen] = useState(false);
  const [outcome, setOutcome] = useState<string>();
  const option = findConversionOption(connection, options);
  if (conversion) return <PendingConversion {...{ connection, appName, canWrite, onVerify, onChanged }} />;
  if (!option || !canWrite) return null;
  return (
    <Stack gap="sm" mb="xl" align="start">
      {outcome && (
        <Alert color="green" role="status" w="100%">
          {outcome}
        </Alert>
      )}
      <Button variant="default" size="compact-sm" onClick={() => setIsOpen(true)}>
        {option.method === connection.method
          ? 'Let this server make the key'
          : `Convert to “${option.label}”`}
      </Button>
      {isOpen && (
        <Suspense>
          <ConvertDialog
            connection={connection}
            method={option}
            appName={appName}
            onClose={() => setIsOpen(false)}
            onDone={(text) => {
              setIsOpen(false);
              setOutcome(text);
              onChanged();
            }}
          />
        </Suspense>
      )}
    </Stack>
  );
}

interface PendingConversionProps extends Omit<ConversionProps, 'options'> {
  canWrite: boolean;
}

/** What is to do until the app accepts the new credentials. */
function PendingConversion(props: PendingConversionProps) {
  const { connection, appName, canWrite, onVerify, onChanged } = props;
  const { id, conversion } = connection;
  const client = useClient();
  const [apiError, setApiError] = useState<ApiError>();
  if (!conversion) return null;
  const { verification, credentials } = conversion;
  const cancel = async () => {
    const result = await runMutation(client, cancelConversionMutation, { id });
    setApiError(result?.apiError);
    onChanged();
  };
  return (
    <Stack component="section" gap="sm" mb="xl" aria-labelledby="conversion">
      <Title order={2} size="h4" id="conversion">
        Pending conversion
      </Title>
      <Text size="sm">
        The connection goes on with the credentials that it has. Those below replace them once {appName}{' '}
        accepts them. A setup link shows the administrator of {appName} what to do.
      </Text>
      {verification.message && (
        <Alert color={verification.status === 'REJECTED' ? 'red' : 'yellow'} role="status">
          <Text size="sm">{verification.message}</Text>
          {verification.remedy && (
            <Text size="sm" mt="xs">
              {verification.remedy}
            </Text>
          )}
        </Alert>
      )}
      {apiError && <ErrorAlert apiError={apiError} />}
      <Group>
        {onVerify && (
          <Button size="compact-sm" onClick={onVerify}>
            Check now
          </Button>
        )}
        {canWrite && (
          <Button variant="default" size="compact-sm" onClick={cancel}>
            Cancel conversion
          </Button>
        )}
      </Group>
      <ConnectionKeys
        credentials={credentials}
        isPlatformManagedCredentials
        appName={appName}
        title="New public keys"
      />
    </Stack>
  );
}
