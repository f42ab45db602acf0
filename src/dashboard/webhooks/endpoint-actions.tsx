import { Alert, Button, Group, Modal, Stack } from '@mantine/core';
import { type ReactNode, useState } from 'react';
import { useClient } from 'urql';
import { useLocation } from 'wouter';
import { ErrorAlert } from '../error-alert.tsx';
import { type OptionalProjectId, webhooksPath } from '../route.ts';
import { runMutation } from '../run-mutation.ts';
import { ConfirmDialog } from './confirm-dialog.tsx';
import { EndpointForm, isForPeople } from './endpoint-form.tsx';
import {
  deleteEndpointMutation,
  type Endpoint,
  rotateSecretMutation,
  sendTestMutation,
  updateEndpointMutation,
} from './operations.ts';
import { SecretNote } from './secret-note.tsx';
import { useCanWriteWebhooks } from './webhook-access.tsx';

interface EndpointActionsProps {
  endpoint: Endpoint;
  projectId: OptionalProjectId;
  projects: readonly { id: string; name: string }[];
  /** Called after a change. */
  onChanged(): void;
}

/** The buttons that change an endpoint, with their dialogs and outcomes. */
export function EndpointActions({ endpoint, projectId, projects, onChanged }: EndpointActionsProps) {
  const { id, url, disabledAt } = endpoint;
  const client = useClient();
  const [, navigate] = useLocation();
  const [open, setOpen] = useState<'edit' | 'rotate' | 'disable' | 'delete'>();
  const [outcome, setOutcome] = useState<ReactNode>();
  const [isSending, setIsSending] = useState(false);
  const close = () => setOpen(undefined);
  const done = (next: ReactNode) => {
    close();
    setOutcome(next);
    onChanged();
  };
  const showSuccess = (text: string) => done(<Alert color="green">{text}</Alert>);
  const setEnabled = (enabled: boolean) =>
    runMutation(client, updateEndpointMutation, { id, input: { enabled } });

  const enable = async () => {
    const result = await setEnabled(true);
    if (result?.apiError) setOutcome(<ErrorAlert apiError={result.apiError} />);
    else showSuccess('The endpoint is enabled. It gets the events from now on, and those that wait.');
  };
  const sendTest = async () => {
    setIsSending(true);
    const result = await runMutation(client, sendTestMutation, { endpointId: id });
    setIsSending(false);
    if (result?.apiError) setOutcome(<ErrorAlert apiError={result.apiError} />);
    else showSuccess('A test event is on its way. Its delivery is below.');
  };
  if (!useCanWriteWebhooks()) return null;
  return (
    <>
      <Group gap="xs">
        <Button size="xs" onClick={sendTest} disabled={disabledAt !== null || isSending}>
          Send test event
        </Button>
        <Button size="xs" variant="default" onClick={() => setOpen('edit')}>
          Edit
        </Button>
        {!isForPeople(endpoint.format) && (
          <Button size="xs" variant="default" onClick={() => setOpen('rotate')}>
            Rotate secret
          </Button>
        )}
        <Button size="xs" variant="default" onClick={disabledAt ? enable : () => setOpen('disable')}>
          {disabledAt ? 'Enable' : 'Disable'}
        </Button>
        <Button size="xs" variant="default" c="var(--mantine-color-error)" onClick={() => setOpen('delete')}>
          Delete
        </Button>
      </Group>
      <div role="status">{outcome}</div>
      {open === 'edit' && (
        <Modal
          opened
          onClose={close}
          size="lg"
          title="Edit endpoint"
          closeButtonProps={{ 'aria-label': 'Close' }}
        >
          <EndpointForm
            endpoint={endpoint}
            projects={projects}
            mutation={updateEndpointMutation}
            toVariables={(input) => ({ id, input })}
            action="Save"
            onClose={close}
            onDone={() => showSuccess('Saved the endpoint.')}
          />
        </Modal>
      )}
      {open === 'rotate' && (
        <ConfirmDialog
          title="Rotate the secret?"
          action="Rotate"
          run={() => runMutation(client, rotateSecretMutation, { id })}
          onDone={({ outcome: rotated }) =>
            done(
              rotated && (
                <Stack gap="xs" align="start">
                  <SecretNote secret={rotated.secret}>
                    For a day, messages have a signature of the previous secret too.
                  </SecretNote>
                  <Button size="xs" variant="default" onClick={() => setOutcome(null)}>
                    Hide the secret
                  </Button>
                </Stack>
              ),
            )
          }
          onClose={close}
        >
          For a day, messages are signed with the new secret and with the previous one, so that you can
          replace it in the receiver without losing events.
        </ConfirmDialog>
      )}
      {open === 'disable' && (
        <ConfirmDialog
          title="Disable the endpoint?"
          action="Disable"
          run={() => setEnabled(false)}
          onDone={() => showSuccess('The endpoint is disabled.')}
          onClose={close}
        >
          It gets no events until it is enabled again. Events of the meantime are not sent afterwards; they
          are in the audit trail.
        </ConfirmDialog>
      )}
      {open === 'delete' && (
        <ConfirmDialog
          title="Delete the endpoint?"
          action="Delete"
          color="red.9"
          run={() => runMutation(client, deleteEndpointMutation, { id })}
          onDone={() => navigate(webhooksPath(projectId), { replace: true })}
          onClose={close}
        >
          {url} gets no more events, and its deliveries and its secret are removed. This cannot be undone.
        </ConfirmDialog>
      )}
    </>
  );
}
