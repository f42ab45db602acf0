import { LabelledDot } from '../list/status.tsx';
import type { Endpoint, Message } from './operations.ts';

type EndpointState = Pick<Endpoint, 'disabledAt' | 'failingSince' | 'lastSuccessAt'>;

/** Whether an endpoint gets its events, as a badge. */
export function EndpointStatus({ endpoint }: { endpoint: EndpointState }) {
  return <LabelledDot {...describeEndpoint(endpoint)} />;
}

/** The state of a message as a badge. */
export function MessageStatus({ status }: Pick<Message, 'status'>) {
  return <LabelledDot {...messageStatuses[status]} />;
}

/** The words for the states of messages. */
export const messageStatuses = {
  PENDING: { label: 'Waiting', color: 'blue' },
  DELIVERED: { label: 'Delivered', color: 'green' },
  FAILED: { label: 'Failed', color: 'red' },
} as const;

function describeEndpoint({ disabledAt, failingSince, lastSuccessAt }: EndpointState) {
  if (disabledAt) return { label: 'Disabled', color: 'gray' };
  if (failingSince) return { label: 'Failing', color: 'red' };
  return lastSuccessAt ? { label: 'Working', color: 'green' } : { label: 'Nothing sent yet', color: 'blue' };
}
