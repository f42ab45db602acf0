import { Badge, Group, Text } from '@mantine/core';
import type { Connection } from '../operations.ts';
import { RelativeTime } from '../relative-time.tsx';
import { Reason } from './reason.tsx';

const badges = {
  VERIFIED: { label: 'Verified', color: 'green' },
  REJECTED: { label: 'Rejected', color: 'red' },
  UNREACHABLE: { label: 'Unreachable', color: 'yellow' },
  PENDING: { label: 'Pending', color: 'blue' },
} as const;

/** The words for the statuses. */
export const statusLabels = badges;

/** The status and time of the last verification, with its error and remedy. */
export function Status({ name, verification, health }: Pick<Connection, 'name' | 'verification' | 'health'>) {
  const { checkedAt, message } = verification;
  return (
    <>
      <Group gap="xs" wrap="nowrap">
        <StatusBadge status={health.status} />
        {message && <Reason name={name} verification={verification} />}
      </Group>
      {isHostDown({ verification, health }) ? (
        <Text size="xs" c="dimmed" mt={4}>
          host down
        </Text>
      ) : (
        checkedAt && (
          <Text size="xs" c="dimmed" mt={4}>
            checked <RelativeTime at={checkedAt} />
          </Text>
        )
      )}
    </>
  );
}

/** Whether the host of a connection does not answer, which says nothing about its credentials. */
export function isHostDown({ verification, health }: Pick<Connection, 'verification' | 'health'>): boolean {
  return health.status === 'UNREACHABLE' && verification.status !== 'UNREACHABLE';
}

/** A status as a badge. */
export function StatusBadge({ status }: Pick<Connection['verification'], 'status'>) {
  return <LabelledDot {...badges[status]} />;
}

/** A badge with a dot in a colour. */
export function LabelledDot({ label, color }: { label: string; color: string }) {
  return (
    <Badge
      color={color}
      miw="fit-content"
      variant="default"
      leftSection={<Dot color={color} />}
      tt="none"
      fw={600}
    >
      {label}
    </Badge>
  );
}

/** A dot in a colour, for what is said in words beside it. */
export function Dot({ color }: { color: string }) {
  return (
    <Text span c={`${color}.6`} aria-hidden>
      ●
    </Text>
  );
}
