import { Checkbox, Modal, Text } from '@mantine/core';
import { isRevocable, toFieldInput } from '../client-validation.ts';
import { CredentialField } from '../fields.tsx';
import { type ChangeDialogProps, ChangeForm } from './change-form.tsx';

/** Replaces the credentials. The old ones stay in use until the app accepts the new ones. */
export default function ReplaceDialog({ connection, options, onClose, onDone }: ChangeDialogProps) {
  const { name, app, method, credentials } = connection;
  const option = options.find((option) => option.app === app);
  const fields = option?.methods.find((option) => option.method === method)?.fields ?? [];
  const firstSecret = fields.find(({ secret }) => secret);
  const publicValues: Readonly<Record<string, string | null>> = { instanceUrl: credentials.instanceUrl };
  return (
    <Modal
      opened
      onClose={onClose}
      title={`Replace the token of ${name}`}
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      <Text size="sm" mb="md">
        The old token stays in use until {option?.name} accepts the new one.
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
        done={`Replaced the token of ${name}. ${option?.name} accepted it.`}
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
                defaultValue={publicValues[field.name] ?? undefined}
                error={errors[field.name]}
                isFirst={field === firstSecret}
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
