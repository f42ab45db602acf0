import { Button, Group, Modal, Stack, Text, TextInput } from '@mantine/core';
import { type FormEvent, useState } from 'react';
import { useClient } from 'urql';
import type { ApiError } from '../api-error.ts';
import { ConnectionUsers, useConnectionUsers } from '../connection-users.tsx';
import { ErrorAlert } from '../error-alert.tsx';
import { type Connection, deleteMutation } from '../operations.ts';
import { runMutation } from '../run-mutation.ts';

interface DeleteDialogProps {
  connection: Connection;
  onClose(): void;
  onDeleted(restorableUntil: string | null): void;
}

/** Deletes a connection after the user has typed its name. */
export default function DeleteDialog({ connection, onClose, onDeleted }: DeleteDialogProps) {
  const { id, name, version } = connection;
  const client = useClient();
  const [typed, setTyped] = useState('');
  const [apiError, setApiError] = useState<ApiError>();
  const [isBusy, setIsBusy] = useState(false);
  const used = useConnectionUsers(id);
  // Before people type the name, they see the users, in the dialog or in the error.
  const acknowledgeUse = (used.users?.length ?? 0) > 0 || apiError?.code === 'CONNECTION_IN_USE';

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (typed !== name) return;
    setIsBusy(true);
    const outcome = await runMutation(client, deleteMutation, { id, version, acknowledgeUse });
    setIsBusy(false);
    if (outcome?.apiError) return setApiError(outcome.apiError);
    onDeleted(outcome?.data?.outcome?.restorableUntil ?? null);
  };

  return (
    <Modal opened onClose={onClose} title={`Delete ${name}?`} closeButtonProps={{ 'aria-label': 'Close' }}>
      <form onSubmit={submit}>
        <Stack>
          <Text size="sm">
            Everything that uses this connection stops working immediately. You can restore the connection for
            some time; its encrypted token is kept until then.
          </Text>
          <ConnectionUsers {...used} />
          <TextInput
            label={`Type ${name} to confirm`}
            value={typed}
            onChange={(event) => setTyped(event.currentTarget.value)}
            autoComplete="off"
            spellCheck={false}
            data-autofocus
          />
          {apiError && <ErrorAlert apiError={apiError} />}
          <Group justify="end">
            <Button variant="default" onClick={onClose}>
              Cancel
            </Button>
            <Button type="submit" color="red.9" disabled={typed !== name} loading={isBusy}>
              {apiError?.code === 'CONNECTION_IN_USE' ? 'Delete nevertheless' : 'Delete'}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
