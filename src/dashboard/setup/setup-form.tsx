import { Button, Group, Loader, Stack, Text } from '@mantine/core';
import { type FormEvent, useState } from 'react';
import type { ApiError } from '../api-error.ts';
import { ErrorAlert } from '../error-alert.tsx';
import {
  CredentialField,
  clearSecrets,
  errorsByField,
  type FieldErrors,
  focusFirstError,
  readForm,
} from '../fields.tsx';
import type { MutationResult } from '../run-mutation.ts';
import { Diagnosis } from './diagnosis.tsx';
import type { Setup, SetupResult } from './setup-api.ts';

interface SetupFormProps {
  setup: Setup;
  /** Sends the values, or without a field, asks for a check. */
  onSubmit(credentials: Readonly<Record<string, string>> | undefined): Promise<MutationResult<SetupResult>>;
}

/** The fields of what the person enters, and the button that checks the connection. */
export function SetupForm({ setup, onSubmit }: SetupFormProps) {
  const { app, fields } = setup;
  const [isBusy, setIsBusy] = useState(false);
  const [apiError, setApiError] = useState<ApiError>();
  const [errors, setErrors] = useState<FieldErrors>({});
  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const credentials = fields.length > 0 ? readForm(form) : undefined;
    clearSecrets(form);
    setIsBusy(true);
    setApiError(undefined);
    const result = await onSubmit(credentials);
    setIsBusy(false);
    setApiError(result.apiError);
    const fieldErrors = errorsByField(result.apiError?.issues ?? []);
    setErrors(fieldErrors);
    focusFirstError(form, fieldErrors);
  };
  const hasSecrets = fields.some(({ secret }) => secret);
  const hasFieldErrors = fields.some(({ name }) => errors[name]);
  return (
    <form onSubmit={submit} noValidate autoComplete="off">
      <Stack>
        {/* The error of what was just sent replaces the diagnosis of before. */}
        {!apiError && <Diagnosis setup={setup} />}
        {fields.map((field) => (
          <CredentialField
            key={field.name}
            field={{
              ...field,
              help: field.whereToFind,
              kind: field.secret ? 'SECRET' : 'TEXT',
              required: true,
            }}
            error={errors[field.name]}
            defaultValue={field.value ?? undefined}
          />
        ))}
        {apiError && !hasFieldErrors && <ErrorAlert apiError={apiError} />}
        {apiError && hasSecrets && (
          <Text size="sm" c="dimmed">
            Nothing was changed. This page does not keep secrets: enter it again.
          </Text>
        )}
        <Group role="status" mih={36}>
          {isBusy ? (
            <>
              <Loader size="sm" aria-hidden />
              <Text>Checking with {app.name}…</Text>
            </>
          ) : (
            <Button type="submit">{hasSecrets ? 'Check and save' : 'Check now'}</Button>
          )}
        </Group>
      </Stack>
    </form>
  );
}
