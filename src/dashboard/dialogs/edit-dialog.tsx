import { Modal, Textarea, TextInput } from '@mantine/core';
import { AnnotationFields, toAnnotations } from '../annotations.tsx';
import { type ChangeDialogProps, ChangeForm } from './change-form.tsx';

/** Edits name, description, tags and owner. The credentials are not verified again. */
export default function EditDialog({ connection, onClose, onDone }: ChangeDialogProps) {
  const { name, description } = connection;
  return (
    <Modal opened onClose={onClose} title={`Edit ${name}`} closeButtonProps={{ 'aria-label': 'Close' }}>
      <ChangeForm
        connection={connection}
        fields={[]}
        toInput={(values) => ({
          name: values.name,
          description: values.description || null,
          ...toAnnotations(values),
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
          </>
        )}
      </ChangeForm>
    </Modal>
  );
}
