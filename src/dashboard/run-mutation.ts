import { type AnyVariables, type Client, createRequest, type DocumentInput } from 'urql';
import { type ApiError, parseError } from './api-error.ts';

/** The data of a mutation, or the error with which it failed. */
export type MutationResult<Data> = { data: Data; apiError?: never } | { data?: never; apiError: ApiError };

/**
 * Runs a mutation.
 *
 * @returns undefined when `signal` aborted it
 */
export function runMutation<Data, Variables extends AnyVariables>(
  client: Client,
  mutation: DocumentInput<Data, Variables>,
  variables: Variables,
  signal?: AbortSignal,
): Promise<MutationResult<Data> | undefined> {
  const operation = client.createRequestOperation('mutation', createRequest(mutation, variables));
  const { fetch: send = fetch } = operation.context;
  // urql aborts queries, but never mutations.
  const abortable: typeof fetch = (input, init) => send(input, { ...init, signal: signal ?? init?.signal });
  const context = { ...operation.context, fetch: abortable };
  return new Promise((resolve) => {
    const subscription = client
      .executeRequestOperation({ ...operation, context })
      .subscribe(({ data, error }) => {
        if (error) resolve({ apiError: parseError(error) });
        else if (data) resolve({ data });
      });
    signal?.addEventListener('abort', () => {
      subscription.unsubscribe();
      resolve(undefined);
    });
  });
}
