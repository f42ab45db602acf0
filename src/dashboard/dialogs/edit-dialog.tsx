import { Modal, NativeSelect, Textarea, TextInput } from '@mantine/core';
import { AnnotationFields, toAnnotations } from '../annotations.tsx';
import { type ChangeDialogProps, ChangeForm } from './change-form.tsx';

/** Edits name, description, tags, owner and the interval of the checks. The credentials are not verified again. */
export default function EditDialog({ connection, onClose, onDone }: ChangeDialogProps) {
  const { name, description, checkEvery } = connection;
  return (
    <Modal opened onClose={onClose} title={`Edit ${name}`} closeButtonProps={{ 'aria-label': 'Close' }}>
      <ChangeForm
        connection={connection}
        fields={[]}
        toInput={(values) => ({
          name: values.name,
          description: values.description || null,
          ...toAnnotations(values),
          // Sent as it was, the default would become an interval of the connection.
          ...(values.checkEvery !== `${checkEvery}` && { checkEvery: Number(values.checkEvery) }),
        })}
        done={`Saved the details of ${name}.`}
        busy="Saving…"
        onClose={onClose}
        onDone={onDone}
      >
        {(errors) => (
          <>
            <TextInput
              name="name"
              label="Name"
              description="Lower-case letters and digits, with single hyphens between them."
              defaultValue={name}
              withAsterisk
              aria-required
              spellCheck={false}
              error={errors.name}
              data-autofocus
            />
            <Textarea
              name="description"
              label="Description"
              defaultValue={description ?? ''}
              autosize
              minRows={2}
              error={errors.description}
            />
            <AnnotationFields errors={errors} connection={connection} />
            <NativeSelect
              name="checkEvery"
              label="Checks"
              description="How often this server checks whether the credentials still work. A check keeps an API token alive that expires when it is not used."
              defaultValue={checkEvery}
              data={intervals
                .concat(intervals.includes(checkEvery) ? [] : checkEvery)
                .map((hours) => ({ value: `${hours}`, label: describeInterval(hours) }))}
              error={errors.checkEvery}
            />
          </>
        )}
      </ChangeForm>
    </Modal>
  );
}

/** The intervals of checks to choose from, in hours; 0 for no checks. */
const intervals = [1, 6, 12, 24, 72, 168, 0];

function describeInterval(hours: number): string {
  if (hours === 0) return 'Off';
  if (hours === 1) return 'Every hour';
  if (hours === 24) return 'Every day';
  return hours % 24 === 0 ? `Every ${hours / 24} days` : `Every ${hours} hours`;
}
