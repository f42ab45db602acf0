import type { CombinedError } from 'urql';
import type { ErrorCode, Issue } from '../common/errors.ts';

/** What went wrong, as the server says it, or because nothing was to be heard of the server. */
export interface Problem {
  code: ErrorCode | 'OFFLINE';
  message: string;
  issues: readonly Issue[];
  remedy: string | undefined;
  /** Finds it in the server's log; only when it is the server's fault. */
  requestId: string | undefined;
}

/** Nothing was to be heard of the server. */
export const offline: Problem = {
  code: 'OFFLINE',
  message: 'The server cannot be reached.',
  issues: [],
  remedy: 'Check your network, then try again.',
  requestId: undefined,
};

/** Reads the first of the errors with which a request failed; the server has one for each failure. */
export function problemOf({ graphQLErrors: [error] }: CombinedError): Problem {
  if (!error) return offline;
  const { code, issues, remedy, requestId } = error.extensions as Partial<Problem>;
  return {
    code: code ?? 'INTERNAL_SERVER_ERROR',
    message: error.message,
    issues: issues ?? [],
    remedy,
    requestId,
  };
}
