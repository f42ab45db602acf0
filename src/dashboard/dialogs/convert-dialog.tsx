import { Button, Checkbox, Group, Loader, Modal, Stack, Text } from '@mantine/core';
import type { FormEvent } from 'react';
import { buildConvertMutation } from '../app-mutations.ts';
import {
  isRevocable,
  toFieldInput,
  toFieldText,
  toTypeName,
  validateConversion,
} from '../client-validation.ts';
import type { DetailedConnection } from '../connection/operations.ts';
import { ErrorAlert } from '../error-alert.tsx';
import { AcknowledgeUse, CredentialField } from '../fields.tsx';
import { useMutationForm } from '../use-mutation-form.ts';
import type { MethodOption } from '../use-options.ts';

interface ConvertDialogProps {
  connection: DetailedConnection;
  /** The new method; the same one for a key of this server instead of the caller's. */
  method: MethodOption;
  appName: string;
  onClose(): void;
  /** @param text the success message */
  onDone(text: string): void;
}

/** Converts a connection to another method, or to a key of the server. The old credentials stay in use until the app accepts the new ones. */
export default function ConvertDialog({ connection, method, appName, onClose, onDone }: ConvertDialogProps) {
  const { id, app, name, version } = connection;
  const fields = method.fields.filter(({ kind }) => kind !== 'URL');
  const isKeyChange = method.method === connection.method;
  const current: Readonly<Record<string, unknown>> = isKeyChange ? connection.credentials : {};
  const { errors, apiError, request, submit } = useMutationForm();
  const save = async (event: FormEvent<HTMLFormElement>) => {
    const data = await submit(event, {
      validate: (values) => validateConversion(app, values, fields),
      mutation: buildConvertMutation(toTypeName(connection)),
      toVariables: (values) => ({
        id,
        version,
        to: Object.fromEntries(
          fields
            .filter(({ name }) => values[name])
            .map((field) => [field.name, toFieldInput(field, values[field.name] ?? '')]),
        ),
        revokeOldToken: values.revokeOldToken !== undefined,
        acknowledgeUse: values.acknowledgeUse !== undefined,
      }),
    });
    if (!data || data === 'cancelled') return;
    const isDone = !isKeyChange && data.outcome?.appConnection.method === method.method;
    onDone(isDone ? `Converted ${name}. ${appName} accepted it.` : `The conversion of ${name} is pending.`);
  };
  return (
    <Modal
      opened
      onClose={onClose}
      title={isKeyChange ? `Let this server make the key of ${name}` : `Convert ${name} to “${method.label}”`}
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      <Text size="sm" mb="md">
        The connection keeps its id, name, policy and users. The old credentials stay in use until {appName}{' '}
        accepts the new ones.
      </Text>
      <form onSubmit={save} noValidate autoComplete="off">
        <Stack>
          {fields.map((field, index) => (
            <CredentialField
              key={field.name}
              field={field}
              error={errors[field.name]}
              defaultValue={toFieldText(current[field.name])}
              isFirst={index === 0}
            />
          ))}
          {isRevocable(connection) && (
            <Checkbox
              name="revokeOldToken"
              label={`Revoke the old token at ${appName} afterwards`}
              error={errors.revokeOldToken}
            />
          )}
          <AcknowledgeUse error={errors.acknowledgeUse} />
          {apiError && <ErrorAlert apiError={apiError} />}
          <Group justify="end" role="status">
            {request && (
              <>
                <Loader size="sm" aria-hidden />
                <Text size="sm">Converting…</Text>
              </>
            )}
            <Button variant="default" onClick={request ? () => request.abort() : onClose}>
              Cancel
            </Button>
            <Button type="submit" disabled={request !== undefined}>
              Convert
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
