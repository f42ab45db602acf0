import { Modal, Textarea } from '@mantine/core';
import { toAnnotations } from '../annotations.tsx';
import { type ChangeDialogProps, ChangeForm } from './change-form.tsx';

type NotesDialogProps = Pick<ChangeDialogProps, 'connection' | 'onClose' | 'onDone'> & {
  notes: string | null;
};

/** Edits the notes of a connection. */
export default function NotesDialog({ connection, notes, onClose, onDone }: NotesDialogProps) {
  const { name } = connection;
  return (
    <Modal
      opened
      onClose={onClose}
      title={`Notes about ${name}`}
      size="lg"
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      <ChangeForm
        connection={connection}
        fields={[]}
        toInput={toAnnotations}
        done={`Saved the notes about ${name}.`}
        busy="Saving…"
        onClose={onClose}
        onDone={onDone}
      >
        {(errors) => (
          <Textarea
            name="notes"
            label="Notes"
            description="In Markdown. Everyone who may see the connection can read them."
            defaultValue={notes ?? ''}
            autosize
            minRows={6}
            maxRows={20}
            error={errors.notes}
            data-autofocus
          />
        )}
      </ChangeForm>
    </Modal>
  );
}
