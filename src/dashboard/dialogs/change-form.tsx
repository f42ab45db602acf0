import { Button, Checkbox, Group, Loader, Stack, Text } from '@mantine/core';
import { type FormEvent, type ReactNode, useState } from 'react';
import { useClient } from 'urql';
import type { ApiError } from '../api-error.ts';
import { buildUpdateMutation, type UpdateVariables } from '../app-mutations.ts';
import { type FormValues, findApp, toTypeName, validateUpdate } from '../client-validation.ts';
import { ErrorAlert } from '../error-alert.tsx';
import { clearSecrets, errorsByField, type FieldErrors, focusFirstError, readForm } from '../fields.tsx';
import type { Connection } from '../operations.ts';
import { runMutation } from '../run-mutation.ts';
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
  const client = useClient();
  const [errors, setErrors] = useState<FieldErrors>({});
  const [apiError, setApiError] = useState<ApiError>();
  const [request, setRequest] = useState<AbortController>();
  const flag = findApp(app)?.tenantChange?.flag;

  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const values = readForm(form);
    const showErrors = (fieldErrors: FieldErrors) => {
      setErrors(fieldErrors);
      focusFirstError(form, fieldErrors);
    };
    setApiError(undefined);
    const invalid = errorsByField(validateUpdate(app, values, fields));
    if (Object.keys(invalid).length > 0) return showErrors(invalid);
    setErrors({});
    const controller = new AbortController();
    setRequest(controller);
    clearSecrets(form);
    const input = { ...toInput(values), version, ...(flag && values[flag] && { [flag]: true }) };
    const outcome = await runMutation(
      client,
      buildUpdateMutation(toTypeName(connection)),
      { id, input },
      controller.signal,
    );
    setRequest(undefined);
    if (!outcome) return;
    if (!outcome.apiError) return onDone(done);
    setApiError(outcome.apiError);
    showErrors(errorsByField(outcome.apiError.issues));
  };

  return (
    <form onSubmit={submit} noValidate autoComplete="off">
      <Stack>
        {children(errors)}
        {flag && errors[flag] && (
          <Checkbox name={flag} label="Yes, use a different organisation" error={errors[flag]} />
        )}
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
