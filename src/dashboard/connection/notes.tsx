import { Button, Group, Paper, Skeleton, Text, Title } from '@mantine/core';
import { lazy, Suspense, useState } from 'react';
import { useSession } from '../session/session.ts';
import type { DetailedConnection } from './operations.ts';
import { SourceFallback } from './source-fallback.tsx';

const Markdown = lazy(() => import('./markdown.tsx'));
const NotesDialog = lazy(() => import('../dialogs/notes-dialog.tsx'));

interface NotesProps {
  connection: DetailedConnection;
  /** Called after a change. */
  onChanged(): void;
}

/** The notes of a connection, with a button to edit them. */
export function Notes({ connection, onChanged }: NotesProps) {
  const { notes } = connection;
  const canWrite = useSession().viewer.scopes.includes('CONNECTIONS_WRITE');
  const [isEditing, setIsEditing] = useState(false);
  if (notes === null && !canWrite) return null;
  const close = () => setIsEditing(false);
  return (
    <section aria-label="Notes" style={{ marginBottom: 'var(--mantine-spacing-xl)' }}>
      <Group mb="xs">
        <Title order={2} size="h4">
          Notes
        </Title>
        {canWrite && (
          <Button variant="default" size="compact-sm" onClick={() => setIsEditing(true)}>
            {notes === null ? 'Add notes' : 'Edit notes'}
          </Button>
        )}
      </Group>
      {notes === null ? (
        <Text size="sm" c="dimmed">
          What people should know who use or change this connection.
        </Text>
      ) : (
        <Paper withBorder p="md">
          <Suspense fallback={<Skeleton h={60} role="status" aria-label="Loading" />}>
            <SourceFallback key={notes} source={notes}>
              <Markdown text={notes} />
            </SourceFallback>
          </Suspense>
        </Paper>
      )}
      {isEditing && (
        <Suspense>
          <NotesDialog
            connection={connection}
            notes={notes}
            onClose={close}
            onDone={() => {
              close();
              onChanged();
            }}
          />
        </Suspense>
      )}
    </section>
  );
}
