import { Button, Code, Group, Modal, Stack, Text } from '@mantine/core';
import classes from '../table.module.css';
import type { PreparedRequest } from './request-draft.ts';

interface ConfirmWriteProps {
  request: PreparedRequest;
  /** The host of the instance, or the name of the app. */
  target: string;
  onClose(): void;
  onConfirm(): void;
}

/** Asks before a request that changes something in the app. */
export function ConfirmWrite({ request, target, onClose, onConfirm }: ConfirmWriteProps) {
  const { method, path, query, body } = request;
  return (
    <Modal
      opened
      onClose={onClose}
      title={`Send ${method} to ${target}?`}
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      <Stack>
        <Text size="sm">
          This request can change data in {target}, which this server cannot undo. The audit trail records it.
        </Text>
        <Code block className={classes.code}>
          {`${method} ${path}${query === null ? '' : `?${query}`}${body === null ? '' : `\n\n${body}`}`}
        </Code>
        <Group justify="end">
          <Button variant="default" onClick={onClose} data-autofocus>
            Cancel
          </Button>
          <Button color={method === 'DELETE' ? 'red.9' : undefined} onClick={onConfirm}>
            Send {method}
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}
