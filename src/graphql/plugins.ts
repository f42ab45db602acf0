import { finished } from 'node:stream';
import type { ExecutionResult } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { HttpError } from '../common/errors.ts';
import { currentRequest } from '../common/log.ts';
import { type Context, requireCaller } from './context.ts';
import type { ErrorMasker } from './error-masking.ts';

/** What Yoga says with a bare status. */
const unspoken: Readonly<Record<number, string>> = {
  405: 'GraphQL is asked with POST.',
  406: 'GraphQL answers with application/graphql-response+json or application/json, and a subscription with text/event-stream; the Accept header wants none of them.',
};

/** Without these, nginx keeps events until it has a buffer full of them, and others compress them, with the same effect. */
const unbuffered = [
  ['cache-control', 'no-store, no-transform'],
  ['x-accel-buffering', 'no'],
] as const;

/** What people read in an answer that would have a status and nothing else. */
export function statusMessage(status: number): string | undefined {
  return unspoken[status] && `${unspoken[status]}\n`;
}

/** Shapes the errors of a result, if it has any, and notes the first of them for the log. */
export function maskErrors<Result extends Pick<ExecutionResult, 'data' | 'errors'>>(
  result: Result,
  maskError: ErrorMasker,
): Result {
  if (!result.errors) return result;
  const errors = result.errors.map(maskError);
  // Whoever repeats the request on reading the status would do again what has been done.
  const isPartial = Object.values(result.data ?? {}).some((value) => value !== null);
  if (isPartial) for (const { extensions } of errors) delete extensions.http;
  const record = currentRequest.getStore();
  if (record) record.outcome = String(errors[0]?.extensions.code);
  return { ...result, errors };
}

/** The last gate: whatever errors an answer has, from whatever stage, they leave shaped. */
export function useErrorMasking(maskError: ErrorMasker): Plugin<Context> {
  return {
    onResultProcess({ result, setResult }) {
      if (!Array.isArray(result) && 'errors' in result) setResult(maskErrors(result, maskError));
    },
    onResponse({ response, setResponse, fetchAPI }) {
      // Whether answers may be kept is said in one place for all of them, and Yoga says otherwise of some.
      response.headers.delete('cache-control');
      if (response.headers.get('content-type')?.startsWith('text/event-stream')) {
        for (const [name, value] of unbuffered) response.headers.set(name, value);
      }
      const text = statusMessage(response.status);
      if (!text || response.body) return;
      setResponse(new fetchAPI.Response(text, { status: response.status, headers: response.headers }));
    },
  };
}

/** Refuses a subscription whose answer is to be something else than a stream of events. */
export function useEventStreams(maskError: ErrorMasker): Plugin<Context> {
  return {
    onSubscribe({ args, setResultAndStopExecution }) {
      const { accept = '*/*' } = args.contextValue.req.headers;
      const types = accept.split(',').map((type) => type.split(';', 1)[0]?.trim().toLowerCase() ?? '');
      if (types.some((type) => ['text/event-stream', 'text/*', '*/*'].includes(type))) return;
      const problem = new HttpError(
        406,
        'BAD_USER_INPUT',
        'A subscription is answered with text/event-stream alone, which the Accept header does not want.',
        { remedy: 'Send the header "Accept: text/event-stream", as graphql-sse and urql do.' },
      );
      setResultAndStopExecution({ errors: [maskError(problem)] });
    },
  };
}

/**
 * Counts a subscription as open until its answer ends, however it ends, and refuses one that is too many. It has been
 * counted as a request like any other.
 */
export function useSubscriptionLimit(maskError: ErrorMasker): Plugin<Context> {
  return {
    onSubscribe({ args, setResultAndStopExecution }) {
      const { connections, res } = args.contextValue;
      try {
        finished(res, connections.limits.openSubscription(requireCaller(args.contextValue)));
      } catch (error) {
        setResultAndStopExecution({ errors: [maskError(error)] });
      }
    },
  };
}
