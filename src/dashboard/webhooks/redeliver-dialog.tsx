import { Button, Group, Modal, Stack, Text, TextInput } from '@mantine/core';
import { type FormEvent, useState } from 'react';
import { ErrorAlert } from '../error-alert.tsx';
import { useMutationForm } from '../use-mutation-form.ts';
import { redeliverMutation } from './operations.ts';

interface RedeliverDialogProps {
  endpointId: string;
  onSent(count: number): void;
  onClose(): void;
}

/** Sends the messages of a span of time again, a thousand at a time. */
export function RedeliverDialog({ endpointId, onSent, onClose }: RedeliverDialogProps) {
  const { errors, apiError, request, submit } = useMutationForm();
  /** The messages that were sent, and the time from which on the rest is sent. */
  const [sent, setSent] = useState<{ count: number; nextFrom: string }>();

  const send = async (event: FormEvent<HTMLFormElement>) => {
    const data = await submit(event, {
      validate: ({ from, to }) => [
        ...(sent || from ? [] : [{ path: ['from'], message: 'The time is required.' }]),
        ...(from && to && to <= from
          ? [{ path: ['to'], message: 'This time must be after the other one.' }]
          : []),
      ],
      mutation: redeliverMutation,
      toVariables: ({ from, to }) => ({
        endpointId,
        from: sent?.nextFrom ?? toInstant(from),
        to: toInstant(to),
      }),
    });
    if (!data || data === 'cancelled' || !data.outcome) return;
    const count = (sent?.count ?? 0) + data.outcome.count;
    const { nextFrom } = data.outcome;
    if (nextFrom) setSent({ count, nextFrom });
    else onSent(count);
  };
  return (
    <Modal
      opened
      onClose={onClose}
      title="Send a time span again"
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      <form onSubmit={send} noValidate autoComplete="off">
        <Stack>
          <Text size="sm">
            Sends the events of this time again that were delivered or have failed, at once those that wait
            for their next attempt. They keep their webhook-id, by which a receiver knows those that it has
            seen.
          </Text>
          <TextInput
            name="from"
            type="datetime-local"
            label="From"
            withAsterisk
            aria-required
            readOnly={sent !== undefined}
            error={errors.from}
            data-autofocus
          />
          <TextInput
            name="to"
            type="datetime-local"
            label="Until"
            description="Empty for now."
            readOnly={sent !== undefined}
            error={errors.to}
          />
          {apiError && <ErrorAlert apiError={apiError} />}
          <Text size="sm" role="status">
            {sent && `${sent.count} messages are sent again. There are more.`}
          </Text>
          <Group justify="end">
            <Button variant="default" onClick={onClose}>
              {sent ? 'Close' : 'Cancel'}
            </Button>
            <Button type="submit" loading={request !== undefined}>
              {sent ? 'Send the next' : 'Send again'}
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}

/** Converts a local time of a form (`2026-11-29T12:00`) to an instant; null if it is empty. */
function toInstant(local: string | undefined): string | null {
  return local ? new Date(local).toISOString() : null;
}
