import type { ResultOf } from 'gql.tada';
import { useEffect, useState } from 'react';
import { useClient } from 'urql';
import { type ApiError, parseError } from './api-error.ts';
import { auditQuery } from './operations.ts';

/** An event of the audit trail. */
export type AuditEvent = ResultOf<typeof auditQuery>['auditEvents']['nodes'][number];

/** Loads the audit events about a connection page by page, newest first; with `writesOnly`, the writes through it. */
export function useAuditEvents(connectionId: string, { writesOnly = false } = {}) {
  const client = useClient();
  const [events, setEvents] = useState<readonly AuditEvent[]>();
  const [page, setPage] = useState<{ after: string | null; attempt: number }>({ after: null, attempt: 0 });
  const [next, setNext] = useState<string | null>(null);
  const [apiError, setApiError] = useState<ApiError>();

  useEffect(() => {
    let isCurrent = true;
    const { after } = page;
    const variables = { filter: { connectionId, writesOnly }, after };
    client.query(auditQuery, variables, { requestPolicy: 'network-only' }).then(({ data, error }) => {
      if (!isCurrent) return;
      setApiError(error && parseError(error));
      if (!data) return;
      const { nodes, pageInfo } = data.auditEvents;
      // A page that is shown again loads its last events again.
      const isNewer = ({ seq }: AuditEvent) => after !== null && seq > (nodes[0]?.seq ?? 0);
      setEvents((before = []) => [...before.filter(isNewer), ...nodes]);
      setNext(pageInfo.hasNextPage ? pageInfo.endCursor : null);
    });
    return () => {
      isCurrent = false;
    };
  }, [client, connectionId, writesOnly, page]);

  return {
    /** Undefined until they are loaded. */
    events,
    apiError,
    /** Loads the next page; undefined on the last one. */
    loadMore: next === null ? undefined : () => setPage(({ attempt }) => ({ after: next, attempt })),
    /** Loads the first page again. */
    reload: () => setPage(({ attempt }) => ({ after: null, attempt: attempt + 1 })),
  };
}

/** The caller of an audited request. `keyNames` has the known names of API keys by id. */
export function describeActor(
  { subject, keyId, setupLinkId }: Pick<AuditEvent, 'subject' | 'keyId' | 'setupLinkId'>,
  keyNames?: ReadonlyMap<string, string>,
): string {
  if (subject !== null) return subject;
  if (keyId) return keyNames?.get(keyId) ?? `API key ${keyId}`;
  return setupLinkId ? `setup link ${setupLinkId}` : 'the server';
}

/** `CREATE_CONNECTION` as `Create connection`. */
export function toWords(value: string): string {
  const words = value.toLowerCase().replaceAll('_', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}
