import { finished } from 'node:stream';
import { type ExecutionResult, GraphQLError } from 'graphql';
import { type Plugin, processRegularResult } from 'graphql-yoga';
import { HttpError } from '../common/errors.ts';
import { currentRequest } from '../common/log.ts';
import { type Context, requireCaller } from './context.ts';
import type { ErrorMasker } from './error-masking.ts';

/** Prevents proxies from delaying events: nginx by buffering, others by compression. */
const unbuffered = [
  ['cache-control', 'no-store, no-transform'],
  ['x-accel-buffering', 'no'],
] as const;

/** Masks the errors of a result, and records the code of the first for the log. */
export function maskErrors<Result extends Pick<ExecutionResult, 'data' | 'errors'>>(
  result: Result,
  maskError: ErrorMasker,
): Result {
  if (!result.errors) return result;
  const errors = result.errors.map(maskError);
  // An HTTP error status would make clients repeat a request that has succeeded in part.
  const isPartial = Object.values(result.data ?? {}).some((value) => value !== null);
  if (isPartial) for (const { extensions } of errors) delete extensions.http;
  const record = currentRequest.getStore();
  if (record) record.outcome = String(errors[0]?.extensions.code);
  return { ...result, errors };
}

/** Masks the errors of all results, from every stage. */
export function useErrorMasking(maskError: ErrorMasker): Plugin<Context> {
  return {
    onResultProcess({ result, setResult }) {
      if (!Array.isArray(result) && 'errors' in result) setResult(maskErrors(result, maskError));
    },
    onResponse({ response, setResponse, fetchAPI }) {
      // The security headers set cache-control; Yoga would override it for some responses.
      response.headers.delete('cache-control');
      if (response.headers.get('content-type')?.startsWith('text/event-stream')) {
        for (const [name, value] of unbuffered) response.headers.set(name, value);
      }
      // Yoga sends this status without a body.
      if (response.status !== 406 || response.body) return;
      const result = maskErrors({ errors: [notAcceptable()] }, maskError);
      const withBody = processRegularResult(result, fetchAPI, 'application/json');
      withBody.headers.set('accept', response.headers.get('accept') ?? '');
      setResponse(withBody);
    },
  };
}

function notAcceptable(): GraphQLError {
  const error = new HttpError(
    406,
    'BAD_USER_INPUT',
    'The Accept header allows no media type of this endpoint.',
    {
      remedy:
        'Allow application/graphql-response+json or application/json and, for subscriptions, text/event-stream.',
    },
  );
  return new GraphQLError(error.message, { originalError: error });
}

/** Rejects a subscription whose Accept header does not allow an event stream. */
export function useEventStreams(maskError: ErrorMasker): Plugin<Context> {
  return {
    onSubscribe({ args, setResultAndStopExecution }) {
      const { accept = '*/*' } = args.contextValue.req.headers;
      const types = accept.split(',').map((type) => type.split(';', 1)[0]?.trim().toLowerCase() ?? '');
      if (types.some((type) => ['text/event-stream', 'text/*', '*/*'].includes(type))) return;
      const error = new HttpError(
        406,
        'BAD_USER_INPUT',
        'The response to a subscription is text/event-stream, which the Accept header does not allow.',
        { remedy: 'Send the header "Accept: text/event-stream", as graphql-sse and urql do.' },
      );
      setResultAndStopExecution({ errors: [maskError(error)] });
    },
  };
}

/**
 * Counts a subscription as open until its response ends, and rejects subscriptions above the limit. It was also counted
 * as a request.
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
