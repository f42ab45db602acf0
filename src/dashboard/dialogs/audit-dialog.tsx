import { Button, Group, Modal, Stack, Text } from '@mantine/core';
import { ErrorAlert } from '../error-alert.tsx';
import { Loading } from '../loading.tsx';
import type { Connection } from '../operations.ts';
import { RelativeTime } from '../relative-time.tsx';
import classes from '../table.module.css';
import { describeActor, toWords, useAuditEvents } from '../use-audit-events.ts';

/** The audit events of a connection, newest first. */
export default function AuditDialog({ connection, onClose }: { connection: Connection; onClose(): void }) {
  const { id, name } = connection;
  const { events, apiError, loadMore } = useAuditEvents(id);
  return (
    <Modal
      opened
      onClose={onClose}
      size="lg"
      title={`Audit trail of ${name}`}
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      {apiError && <ErrorAlert apiError={apiError} />}
      {!apiError && !events && <Loading />}
      <Stack component="ul" p={0} m={0} gap="md" className={classes.plain} aria-label="Events">
        {events?.map((event) => {
          const { seq, at, action, outcome, changedFields, targetName, address } = event;
          return (
            <li key={seq}>
              <Group justify="space-between" gap="xs">
                <Text fw={600}>
                  {toWords(action)}: {outcome === 'OK' ? 'done' : toWords(outcome).toLowerCase()}
                </Text>
                <Text size="sm" c="dimmed">
                  <RelativeTime at={at} />
                </Text>
              </Group>
              {targetName && (
                <Text size="sm" style={{ overflowWrap: 'anywhere' }}>
                  {targetName}
                </Text>
              )}
              {changedFields.length > 0 && <Text size="sm">Changed: {changedFields.join(', ')}</Text>}
              <Text size="sm" c="dimmed" style={{ overflowWrap: 'anywhere' }}>
                By {describeActor(event)}
                {address && `, from ${address}`}
              </Text>
            </li>
          );
        })}
      </Stack>
      {loadMore && (
        <Button variant="default" mt="md" onClick={loadMore}>
          Show more
        </Button>
      )}
    </Modal>
  );
}
