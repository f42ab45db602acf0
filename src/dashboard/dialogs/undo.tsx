import { Alert, Button, Group, Text, TextInput } from '@mantine/core';
import { type FormEvent, useState } from 'react';
import { useClient } from 'urql';
import type { ApiError } from '../api-error.ts';
import { ErrorAlert } from '../error-alert.tsx';
import { type Connection, restoreMutation } from '../operations.ts';
import { runMutation } from '../run-mutation.ts';

interface UndoProps {
  connection: Connection;
  restorableUntil: string | null;
  /** @param text the success message */
  onDone(text: string): void;
  onClose(): void;
}

const day = new Intl.DateTimeFormat('en-GB', { dateStyle: 'long' });

/** Reports that a connection is deleted, and restores it on request; under a new name if the old one is in use. */
export default function Undo({ connection, restorableUntil, onDone, onClose }: UndoProps) {
  const { id, name } = connection;
  const client = useClient();
  const [apiError, setApiError] = useState<ApiError>();
  const [isBusy, setIsBusy] = useState(false);
  const isTaken = apiError?.code === 'NAME_TAKEN';

  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const newName = new FormData(event.currentTarget).get('name');
    setIsBusy(true);
    const outcome = await runMutation(client, restoreMutation, {
      id,
      name: newName === null ? null : String(newName),
    });
    setIsBusy(false);
    if (outcome?.apiError) return setApiError(outcome.apiError);
    onDone(`Restored ${outcome?.data?.outcome?.appConnection.name ?? name}.`);
  };

  return (
    <Alert color="gray" mb="md" withCloseButton closeButtonLabel="Close" onClose={onClose}>
      <form onSubmit={submit}>
        <Group align={isTaken ? 'end' : 'center'}>
          <Text size="sm" role="status">
            Deleted {name}.
            {restorableUntil && ` It can be restored until ${day.format(new Date(restorableUntil))}.`}
          </Text>
          {isTaken && (
            <TextInput name="name" label="New name" defaultValue={`${name}-2`} spellCheck={false} />
          )}
          <Button type="submit" variant="default" size="xs" loading={isBusy}>
            Undo
          </Button>
        </Group>
      </form>
      {apiError && <ErrorAlert apiError={apiError} />}
    </Alert>
  );
}
