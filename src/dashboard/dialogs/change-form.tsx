import { Button, Checkbox, Group, Loader, Stack, Text } from '@mantine/core';
import type { FormEvent, ReactNode } from 'react';
import { buildUpdateMutation, type UpdateVariables } from '../app-mutations.ts';
import { type FormValues, findApp, toTypeName, validateUpdate } from '../client-validation.ts';
import { ErrorAlert } from '../error-alert.tsx';
import { AcknowledgeUse, type FieldErrors } from '../fields.tsx';
import type { Connection } from '../operations.ts';
import { useMutationForm } from '../use-mutation-form.ts';
import type { AppOption, FieldOption } from '../use-options.ts';

/** The properties of a dialog that changes a connection. */
export interface ChangeDialogProps {
  connection: Connection;
  options: readonly AppOption[];
  onClose(): void;
  /** @param text the success message */
  onDone(text: string): void;
}

interface ChangeFormProps extends Pick<ChangeDialogProps, 'connection' | 'onClose' | 'onDone'> {
  /** The credential fields in the form. */
  fields: readonly FieldOption[];
  /** Builds the input of the update from the values of the form. */
  toInput(values: FormValues): UpdateVariables['input'];
  /** The message after success. */
  done: string;
  /** The message during the request. */
  busy: string;
  /** Renders the fields with their errors. */
  children(errors: FieldErrors): ReactNode;
}

/** Updates the version of a connection that the form was opened with; a later version is reported as a conflict. */
export function ChangeForm(props: ChangeFormProps) {
  const { connection, fields, toInput, done, busy, onClose, onDone, children } = props;
  const { id, app, version } = connection;
  const { errors, apiError, request, submit } = useMutationForm();
  const flag = findApp(app)?.tenantChange?.flag;

  const save = async (event: FormEvent<HTMLFormElement>) => {
    const data = await submit(event, {
      validate: (values) => validateUpdate(app, values, fields),
      mutation: buildUpdateMutation(toTypeName(connection)),
      toVariables: (values) => {
        const acknowledgeUse = values.acknowledgeUse !== undefined;
        const allowed = flag && values[flag] && { [flag]: true };
        const input = { ...toInput(values), version, ...(acknowledgeUse && { acknowledgeUse }), ...allowed };
        return { id, input };
      },
    });
    if (data && data !== 'cancelled') onDone(done);
  };

  return (
    <form onSubmit={save} noValidate autoComplete="off">
      <Stack>
        {children(errors)}
        {flag && errors[flag] && (
          <Checkbox name={flag} label="Yes, use a different organisation" error={errors[flag]} />
        )}
        <AcknowledgeUse error={errors.acknowledgeUse} />
        {apiError && <ErrorAlert apiError={apiError} />}
        {apiError && fields.some(({ secret }) => secret) && (
          <Text size="sm" c="dimmed">
            This page does not keep secrets. Enter them again.
          </Text>
        )}
        <Group justify="end" role="status">
          {request && (
            <>
              <Loader size="sm" aria-hidden />
              <Text size="sm">{busy}</Text>
            </>
          )}
          <Button variant="default" onClick={request ? () => request.abort() : onClose}>
            Cancel
          </Button>
          <Button type="submit" disabled={request !== undefined}>
            Save
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
