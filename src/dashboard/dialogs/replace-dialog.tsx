import { Modal, Text } from '@mantine/core';
import { CredentialField } from '../fields.tsx';
import { type ChangeDialogProps, ChangeForm } from './change-form.tsx';

/** New credentials, which the app has to accept before they take the place of the old ones. */
export default function ReplaceDialog({ connection, options, onClose, onDone }: ChangeDialogProps) {
  const { name, app, method, credentials } = connection;
  const option = options.find((option) => option.app === app);
  const fields = option?.methods.find((option) => option.method === method)?.fields ?? [];
  const firstSecret = fields.find(({ secret }) => secret);
  const shown: Readonly<Record<string, string | null>> = { instanceUrl: credentials.instanceUrl };
  return (
    <Modal
      opened
      onClose={onClose}
      title={`Replace the token of ${name}`}
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      <Text size="sm" mb="md">
        The new one takes the place of the old one only once {option?.name} has accepted it.
      </Text>
      <ChangeForm
        connection={connection}
        fields={fields}
        changeOf={(values) => ({
          credentials: Object.fromEntries(
            fields.filter(({ name }) => values[name]).map(({ name }) => [name, values[name] ?? '']),
          ),
        })}
        done={`${name} has a new token, and ${option?.name} has accepted it.`}
        busy={`Asking ${option?.name} whether this works…`}
        onClose={onClose}
        onDone={onDone}
      >
        {(errors) =>
          fields.map((field) => (
            <CredentialField
              key={field.name}
              field={field}
              defaultValue={shown[field.name] ?? undefined}
              error={errors[field.name]}
              isFirst={field === firstSecret}
            />
          ))
        }
      </ChangeForm>
    </Modal>
  );
}
