import type { ResultOf, VariablesOf } from 'gql.tada';
import type { ExecutionResult } from 'graphql-sse';
import { useEffect, useEffectEvent, useState } from 'react';
import { stringifyDocument } from 'urql';
import { changesSubscription, viewerQuery } from '../operations.ts';
import type { Place } from '../route.ts';
import { useSession } from '../session/session.ts';

type Data = ResultOf<typeof changesSubscription>;

/** How often the list is read while changes are not heard of. */
const pollMs = 10_000;

/**
 * Calls `onChange` when a connection of this place was changed, by whomever, and whenever changes may have been
 * missed: after each time that the stream of changes was begun, and now and then while it is not there. Cut off, it goes
 * on from the last change.
 *
 * @returns whether changes are being heard of
 */
export function useChanges(projectId: Place, onChange: () => void): boolean {
  const { client, openEvents } = useSession();
  const [isLive, setIsLive] = useState(false);
  const changed = useEffectEvent(onChange);

  useEffect(() => {
    let stop = () => {};
    let isWanted = true;
    let isHeard = false;
    // Only what has arrived shows that nothing between holds events back.
    const events = openEvents(() => {
      if (isHeard) return;
      isHeard = true;
      setIsLive(true);
      changed();
    });
    const fallSilent = () => {
      isHeard = false;
      setIsLive(false);
    };
    const variables: VariablesOf<typeof changesSubscription> = { projectId };
    const listen = () => {
      stop();
      stop = events.subscribe<Data>(
        // Turned into text at each attempt, with what `after` is by then.
        { query: stringifyDocument(changesSubscription), variables },
        {
          next: ({ data }: ExecutionResult<Data>) => {
            if (!data) return;
            variables.after = data.appConnectionChanged.eventId;
            changed();
          },
          // The server has ended it, because it stops or because the key lets nobody in; asking again tells which.
          complete: again,
          error: again,
        },
        { connecting: fallSilent },
      );
    };
    let timer: ReturnType<typeof setTimeout> | undefined;
    const again = () => {
      if (!isWanted) return;
      fallSilent();
      clearTimeout(timer);
      timer = setTimeout(listen, 1_000);
    };
    const cutOff = () => {
      stop();
      fallSilent();
    };
    listen();
    // A stream over a network that is gone may look whole for minutes.
    addEventListener('offline', cutOff);
    addEventListener('online', listen);
    return () => {
      isWanted = false;
      clearTimeout(timer);
      removeEventListener('offline', cutOff);
      removeEventListener('online', listen);
      stop();
      events.dispose();
    };
  }, [openEvents, projectId]);

  useEffect(() => {
    if (isLive) return;
    const poll = async () => {
      if (document.hidden) return;
      // Asked first, so that the list stays while the server is away.
      const { error } = await client.query(viewerQuery, {}, { requestPolicy: 'network-only' });
      if (!error) changed();
    };
    const timer = setInterval(poll, pollMs);
    return () => clearInterval(timer);
  }, [client, isLive]);

  return isLive;
}
