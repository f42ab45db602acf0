import { Popover, Text } from '@mantine/core';
import type { RefObject } from 'react';
import { RelativeTime } from '../relative-time.tsx';
import { type EarlyInput, useOpenedByButton } from './early-input.ts';
import { ReasonButton, type ReasonProps } from './reason.tsx';

/** Why a connection is not verified, with the button that shows it. */
export default function ReasonPopover({
  name,
  verification,
  early,
}: ReasonProps & { early: RefObject<EarlyInput> }) {
  const { failingSince, message, remedy, oktaRequestId } = verification;
  const { opened, setOpened, button } = useOpenedByButton(early);
  return (
    <Popover
      opened={opened}
      onChange={setOpened}
      width={300}
      position="bottom-start"
      withinPortal
      trapFocus
      returnFocus
      withRoles
    >
      <Popover.Target>
        <ReasonButton ref={button} name={name} onClick={() => setOpened(!opened)} />
      </Popover.Target>
      <Popover.Dropdown aria-label="Why it is not verified" tabIndex={-1}>
        <Text size="sm">{message}</Text>
        <Text size="sm" mt="xs">
          {remedy}
        </Text>
        {failingSince && (
          <Text size="sm" mt="xs" c="dimmed">
            Failing since <RelativeTime at={failingSince} />.
          </Text>
        )}
        {oktaRequestId && (
          <Text size="sm" mt="xs" c="dimmed">
            Okta request ID: {oktaRequestId}
          </Text>
        )}
      </Popover.Dropdown>
    </Popover>
  );
}
