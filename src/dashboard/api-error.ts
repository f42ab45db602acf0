import type { CombinedError } from 'urql';
import type { ErrorCode, Issue } from '../common/errors.ts';

/** An error of the API, or `OFFLINE` when the server did not respond. */
export interface ApiError {
  code: ErrorCode | 'OFFLINE';
  message: string;
  issues: readonly Issue[];
  remedy: string | undefined;
  /** Identifies the request in the server log; only for internal errors. */
  requestId: string | undefined;
}

/** The server did not respond. */
export const offlineError: ApiError = {
  code: 'OFFLINE',
  message: 'The server cannot be reached.',
  issues: [],
  remedy: 'Check your network, then try again.',
  requestId: undefined,
};

/** Converts the first error of a failed request. The server sends one error for each failure. */
export function parseError({ graphQLErrors: [error] }: CombinedError): ApiError {
  if (!error) return offlineError;
  const { code, issues, remedy, requestId } = error.extensions as Partial<ApiError>;
  return {
    code: code ?? 'INTERNAL_SERVER_ERROR',
    message: error.message,
    issues: issues ?? [],
    remedy,
    requestId,
  };
}
