import { type AnyVariables, type Client, createRequest, type DocumentInput } from 'urql';
import { type Problem, problemOf } from './api-error.ts';

/** What came of a mutation. */
export type Outcome<Data> = { data: Data; problem?: never } | { data?: never; problem: Problem };

/**
 * Sends a mutation.
 *
 * @returns undefined when `signal` aborted it
 */
export function send<Data, Variables extends AnyVariables>(
  client: Client,
  mutation: DocumentInput<Data, Variables>,
  variables: Variables,
  signal?: AbortSignal,
): Promise<Outcome<Data> | undefined> {
  const operation = client.createRequestOperation('mutation', createRequest(mutation, variables));
  const { fetch: ask = fetch } = operation.context;
  // urql itself ends what is being queried, but never a mutation.
  const abortable: typeof fetch = (input, init) => ask(input, { ...init, signal: signal ?? init?.signal });
  const context = { ...operation.context, fetch: abortable };
  return new Promise((resolve) => {
    const sent = client.executeRequestOperation({ ...operation, context }).subscribe(({ data, error }) => {
      if (error) resolve({ problem: problemOf(error) });
      else if (data) resolve({ data });
    });
    signal?.addEventListener('abort', () => {
      sent.unsubscribe();
      resolve(undefined);
    });
  });
}
