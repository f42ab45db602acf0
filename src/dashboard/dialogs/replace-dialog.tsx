import { Checkbox, Modal, Text } from '@mantine/core';
import { isRevocable, listChangeableFields, toFieldInput, toFieldText } from '../client-validation.ts';
import { CredentialField } from '../fields.tsx';
import { type ChangeDialogProps, ChangeForm } from './change-form.tsx';

/** Replaces the credentials. The old ones stay in use until the app accepts the new ones. */
export default function ReplaceDialog({ connection, options, onClose, onDone }: ChangeDialogProps) {
  const { name, app } = connection;
  const option = options.find((option) => option.app === app);
  const fields = listChangeableFields(connection, options);
  const isToken = connection.method === 'API_TOKEN';
  const first = fields.find(({ kind, secret }) => (isToken ? secret : kind !== 'URL'));
  const publicValues: Readonly<Record<string, unknown>> = connection.credentials;
  return (
    <Modal
      opened
      onClose={onClose}
      title={isToken ? `Replace the token of ${name}` : `Change the credentials of ${name}`}
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      <Text size="sm" mb="md">
        {isToken ? 'The old token stays' : 'The old credentials stay'} in use until {option?.name} accepts the
        new {isToken ? 'one' : 'ones'}.
      </Text>
      <ChangeForm
        connection={connection}
        fields={fields}
        toInput={(values) => ({
          ...(values.revokeOldToken && { revokeOldToken: true }),
          credentials: Object.fromEntries(
            fields
              .filter(({ name }) => values[name])
              .map((field) => [field.name, toFieldInput(field, values[field.name] ?? '')]),
          ),
        })}
        done={
          isToken
            ? `Replaced the token of ${name}. ${option?.name} accepted it.`
            : `Changed the credentials of ${name}.`
        }
        busy={`Verifying with ${option?.name}…`}
        onClose={onClose}
        onDone={onDone}
      >
        {(errors) => (
          <>
            {fields.map((field) => (
              <CredentialField
                key={field.name}
                field={field}
                defaultValue={toFieldText(publicValues[field.name])}
                error={errors[field.name]}
                isFirst={field === first}
              />
            ))}
            {isRevocable(connection) && (
              <Checkbox
                name="revokeOldToken"
                label={`Revoke the old token at ${option?.name} afterwards`}
                error={errors.revokeOldToken}
              />
            )}
          </>
        )}
      </ChangeForm>
    </Modal>
  );
}
