import { Alert, Center, Text } from '@mantine/core';
import { lazy, type ReactNode, Suspense, useState } from 'react';
import { useClient } from 'urql';
import { ErrorAlert } from '../error-alert.tsx';
import { Loading } from '../loading.tsx';
import { type Connection, verifyMutation } from '../operations.ts';
import { runMutation } from '../run-mutation.ts';
import type { AppOption } from '../use-options.ts';
import type { Action } from './row-menu.tsx';

const EditDialog = lazy(() => import('../dialogs/edit-dialog.tsx'));
const ReplaceDialog = lazy(() => import('../dialogs/replace-dialog.tsx'));
const DeleteDialog = lazy(() => import('../dialogs/delete-dialog.tsx'));
const Undo = lazy(() => import('../dialogs/undo.tsx'));
const SetupLinksDialog = lazy(() => import('../dialogs/setup-links-dialog.tsx'));
const AuditDialog = lazy(() => import('../dialogs/audit-dialog.tsx'));

/** Runs the actions of the rows; returns the open dialog and the outcome of the last action. */
export function useActions(options: readonly AppOption[]) {
  const client = useClient();
  const [open, setOpen] = useState<{ action: Action; connection: Connection }>();
  const [verifying, setVerifying] = useState<ReadonlySet<string>>(new Set());
  const [outcome, setOutcome] = useState<ReactNode>();

  const close = () => setOpen(undefined);
  const showSuccess = (text: string) =>
    setOutcome(
      <Alert
        key={Math.random()}
        color="green"
        mb="md"
        role="status"
        withCloseButton
        closeButtonLabel="Close"
        onClose={() => setOutcome(null)}
      >
        {text}
      </Alert>,
    );

  const verify = async ({ id, name }: Connection) => {
    setVerifying((ids) => new Set([...ids, id]));
    const result = await runMutation(client, verifyMutation, { id });
    setVerifying((ids) => new Set([...ids].filter((other) => other !== id)));
    if (!result) return;
    const { data, apiError } = result;
    if (apiError) return setOutcome(<ErrorAlert apiError={apiError} />);
    const { status, message, remedy } = data.outcome?.appConnection.verification ?? {};
    if (status === 'VERIFIED') return showSuccess(`${name} is verified.`);
    setOutcome(
      <Alert
        key={Math.random()}
        color="red"
        mb="md"
        role="alert"
        title={`Verification of ${name} failed`}
        withCloseButton
        closeButtonLabel="Close"
        onClose={() => setOutcome(null)}
      >
        <Text size="sm">{message}</Text>
        <Text size="sm" mt="xs">
          {remedy}
        </Text>
      </Alert>,
    );
  };

  const act = (action: Action, connection: Connection) => {
    setOutcome(null);
    if (action === 'verify') return verify(connection);
    if (action === 'copy') {
      return navigator.clipboard.writeText(connection.id).then(
        () => showSuccess(`Copied the ID of ${connection.name}.`),
        () => showSuccess(`The ID of ${connection.name} is ${connection.id}`),
      );
    }
    setOpen({ action, connection });
  };

  const done = (text: string) => {
    close();
    showSuccess(text);
  };
  const dialogs = open && (
    <Suspense
      fallback={
        <Center>
          <Loading />
        </Center>
      }
    >
      {open.action === 'edit' && (
        <EditDialog connection={open.connection} options={options} onClose={close} onDone={done} />
      )}
      {open.action === 'replace' && (
        <ReplaceDialog connection={open.connection} options={options} onClose={close} onDone={done} />
      )}
      {open.action === 'setup' && <SetupLinksDialog connection={open.connection} onClose={close} />}
      {open.action === 'audit' && <AuditDialog connection={open.connection} onClose={close} />}
      {open.action === 'delete' && (
        <DeleteDialog
          connection={open.connection}
          onClose={close}
          onDeleted={(restorableUntil) => {
            close();
            setOutcome(
              <Undo
                connection={open.connection}
                restorableUntil={restorableUntil}
                onDone={showSuccess}
                onClose={() => setOutcome(null)}
              />,
            );
          }}
        />
      )}
    </Suspense>
  );
  return { verifying, act, dialogs, outcome: <Suspense>{outcome}</Suspense> };
}
