import { Button, Group, Modal, Stack, Text } from '@mantine/core';
import { type ReactNode, useState } from 'react';
import type { ApiError } from '../api-error.ts';
import { ErrorAlert } from '../error-alert.tsx';
import type { MutationResult } from '../run-mutation.ts';

interface ConfirmDialogProps<Data> {
  title: string;
  /** What happens. */
  children: ReactNode;
  /** The label of the button. */
  action: string;
  color?: string;
  run(): Promise<MutationResult<Data> | undefined>;
  onDone(data: Data): void;
  onClose(): void;
}

/** Runs a mutation after the user has confirmed it. */
export function ConfirmDialog<Data>(props: ConfirmDialogProps<Data>) {
  const { title, children, action, color, run, onDone, onClose } = props;
  const [apiError, setApiError] = useState<ApiError>();
  const [isBusy, setIsBusy] = useState(false);
  const confirm = async () => {
    setIsBusy(true);
    const result = await run();
    setIsBusy(false);
    if (result?.apiError) return setApiError(result.apiError);
    if (result) onDone(result.data);
  };
  return (
    <Modal opened onClose={onClose} title={title} closeButtonProps={{ 'aria-label': 'Close' }}>
      <Stack>
        <Text size="sm">{children}</Text>
        {apiError && <ErrorAlert apiError={apiError} />}
        <Group justify="end">
          <Button variant="default" onClick={onClose} data-autofocus>
            Cancel
          </Button>
          <Button onClick={confirm} loading={isBusy} {...(color && { color })}>
            {action}
          </Button>
        </Group>
      </Stack>
    </Modal>
  );
}
