import type { ResultOf, VariablesOf } from 'gql.tada';
import type { ExecutionResult } from 'graphql-sse';
import { useEffect, useEffectEvent, useState } from 'react';
import { stringifyDocument } from 'urql';
import { changesSubscription, viewerQuery } from '../operations.ts';
import type { OptionalProjectId } from '../route.ts';
import { useSession } from '../session/session.ts';

type Data = ResultOf<typeof changesSubscription>;

/** How often to poll while no events arrive. */
const pollMs = 10_000;

/**
 * Calls `onChange` when a connection of the project changes, and whenever a change may have been missed: after the
 * event stream opens, and periodically while it is closed. After an interruption, the stream resumes from the last event.
 *
 * @returns whether events arrive
 */
export function useConnectionEvents(projectId: OptionalProjectId, onChange: () => void): boolean {
  const { client, openEvents } = useSession();
  const [isLive, setIsLive] = useState(false);
  const changed = useEffectEvent(onChange);

  useEffect(() => {
    let stop = () => {};
    let isSubscribed = true;
    let isOpen = false;
    // A proxy may buffer the stream, so it counts as open only once something has arrived.
    const events = openEvents(() => {
      if (isOpen) return;
      isOpen = true;
      setIsLive(true);
      changed();
    });
    const markClosed = () => {
      isOpen = false;
      setIsLive(false);
    };
    const variables: VariablesOf<typeof changesSubscription> = { projectId };
    const subscribe = () => {
      stop();
      stop = events.subscribe<Data>(
        // Serialized at each attempt, with the current value of `after`.
        { query: stringifyDocument(changesSubscription), variables },
        {
          next: ({ data }: ExecutionResult<Data>) => {
            if (!data) return;
            variables.after = data.appConnectionChanged.eventId;
            changed();
          },
          // The server closed the stream: it is stopping, or the key is no longer valid. A new attempt tells which.
          complete: retry,
          error: retry,
        },
        { connecting: markClosed },
      );
    };
    let timer: ReturnType<typeof setTimeout> | undefined;
    const retry = () => {
      if (!isSubscribed) return;
      markClosed();
      clearTimeout(timer);
      timer = setTimeout(subscribe, 1_000);
    };
    const disconnect = () => {
      stop();
      markClosed();
    };
    subscribe();
    // A stream over a lost network can look open for minutes.
    addEventListener('offline', disconnect);
    addEventListener('online', subscribe);
    return () => {
      isSubscribed = false;
      clearTimeout(timer);
      removeEventListener('offline', disconnect);
      removeEventListener('online', subscribe);
      stop();
      events.dispose();
    };
  }, [openEvents, projectId]);

  useEffect(() => {
    if (isLive) return;
    const poll = async () => {
      if (document.hidden) return;
      // Checked first, so that the list stays on screen while the server is unreachable.
      const { error } = await client.query(viewerQuery, {}, { requestPolicy: 'network-only' });
      if (!error) changed();
    };
    const timer = setInterval(poll, pollMs);
    return () => clearInterval(timer);
  }, [client, isLive]);

  return isLive;
}
