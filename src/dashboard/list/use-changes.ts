import type { ResultOf, VariablesOf } from 'gql.tada';
import type { ExecutionResult } from 'graphql-sse';
import { useEffect, useEffectEvent, useState } from 'react';
import { stringifyDocument } from 'urql';
import { changesSubscription } from '../operations.ts';
import type { Place } from '../place.ts';
import { useSession } from '../session/session.ts';

type Data = ResultOf<typeof changesSubscription>;

/**
 * Calls `onChange` when a connection of this place was changed, by whomever, and whenever changes may have been
 * missed: after each time that the stream of changes was begun. Cut off, it goes on from the last change.
 *
 * @returns whether changes are being heard of
 */
export function useChanges(projectId: Place, onChange: () => void): boolean {
  const { events } = useSession();
  const [isLive, setIsLive] = useState(false);
  const changed = useEffectEvent(onChange);

  useEffect(() => {
    let stop = () => {};
    let isWanted = true;
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
        {
          connecting: () => setIsLive(false),
          connected: () => {
            setIsLive(true);
            changed();
          },
        },
      );
    };
    let timer: ReturnType<typeof setTimeout> | undefined;
    const again = () => {
      if (!isWanted) return;
      setIsLive(false);
      clearTimeout(timer);
      timer = setTimeout(listen, 1_000);
    };
    const cutOff = () => {
      stop();
      setIsLive(false);
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
    };
  }, [events, projectId]);

  return isLive;
}
