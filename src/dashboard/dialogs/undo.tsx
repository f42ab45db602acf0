import { Alert, Button, Group, Text, TextInput } from '@mantine/core';
import { type FormEvent, useState } from 'react';
import { useClient } from 'urql';
import type { Problem } from '../api-error.ts';
import { ProblemAlert } from '../error-alert.tsx';
import { type Connection, restoreMutation } from '../operations.ts';
import { send } from '../run-mutation.ts';

interface UndoProps {
  connection: Connection;
  restorableUntil: string | null;
  /** @param text what was done */
  onDone(text: string): void;
  onClose(): void;
}

const day = new Intl.DateTimeFormat('en-GB', { dateStyle: 'long' });

/** Says that a connection is deleted, and brings it back: under another name, if its own has been taken. */
export default function Undo({ connection, restorableUntil, onDone, onClose }: UndoProps) {
  const { id, name } = connection;
  const client = useClient();
  const [problem, setProblem] = useState<Problem>();
  const [isBusy, setIsBusy] = useState(false);
  const isTaken = problem?.code === 'NAME_TAKEN';

  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const given = new FormData(event.currentTarget).get('name');
    setIsBusy(true);
    const outcome = await send(client, restoreMutation, { id, name: given === null ? null : String(given) });
    setIsBusy(false);
    if (outcome?.problem) return setProblem(outcome.problem);
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
      {problem && <ProblemAlert problem={problem} />}
    </Alert>
  );
}
