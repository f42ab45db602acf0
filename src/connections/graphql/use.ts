import { z } from 'zod';
import { type App, appTypeName } from '../../apps/app.ts';
import { isStorable, notStorableMessage } from '../../common/text.ts';
import type { Builder } from '../../graphql/builder.ts';
import { type Context, requireCaller } from '../../graphql/context.ts';
import { readConsumerLabel } from '../../http/consumer-label.ts';
import { readPreferredWait } from '../../http/preferred-wait.ts';
import { type ExecutedRequest, type ExecuteRequest, executeRequest } from '../use/execute-request.ts';
import { maxQueryLength, nextPageError } from '../use/next-link.ts';
import { maxWaitSeconds } from '../use/send-within-budget.ts';
import { maxPathLength } from '../use-policy/normalise-path.ts';
import type { ConnectionTypes } from './types.ts';

const path = z
  .string()
  .max(maxPathLength, `The path must have at most ${maxPathLength} characters.`)
  .regex(
    /^\/[\x21\x22\x24-\x3e\x40-\x7e]*$/,
    'The path must start with a slash, be percent-encoded and have no query, as in /api/v1/users.',
  );
const query = z
  .string()
  .max(maxQueryLength, `The query must have at most ${maxQueryLength} characters.`)
  .regex(/^[\x21-\x22\x24-\x7e]*$/, 'The query must be percent-encoded, and have no "#".')
  .transform((text) => text.replace(/^\?/, ''));
const headerName = z
  .string()
  .regex(/^[!#$%&'*+.^`|~\w-]{1,128}$/, 'A header name must have only letters, digits and hyphens.');
const headerValue = z
  .string()
  .max(8_192, 'A header value must have at most 8192 characters.')
  .regex(/^[\t\x20-\x7e]*$/, 'A header value must have only printable ASCII characters.');
const headers = z
  .array(z.object({ name: headerName, value: headerValue }))
  .max(50, 'There must be at most 50 headers.');

const readSchema = z.object({
  connectionId: z.string(),
  path,
  query: query.nullish(),
  headers: headers.nullish(),
  preferWaitSeconds: z
    .int()
    .min(0, 'The wait must not be negative.')
    .max(maxWaitSeconds, `The wait must be at most ${maxWaitSeconds} seconds.`)
    .nullish(),
});

const executeSchema = readSchema.extend({
  method: z.string(),
  body: z.string().refine(isStorable, notStorableMessage).nullish(),
});

const pathDescription = 'The path without a query: `/api/v1/users`.';
const waitDescription =
  `How long to wait if the rate budget of the connection is spent, in seconds, at most ${maxWaitSeconds}. Without it, ` +
  '`Prefer: wait=30` of the HTTP request applies; without both, the request fails with `UPSTREAM_RATE_LIMITED` at once.';
const queryDescription = 'The query, percent-encoded, without a question mark: `limit=10&search=…`.';

/** Defines the operations that send requests to apps through connections. */
export function defineConnectionUse(
  builder: Builder,
  apps: readonly App[],
  { usePolicy: { Method } }: ConnectionTypes,
): void {
  const usable = apps.filter(({ methods }) => methods.some(({ use }) => use));
  if (usable.length === 0) return;
  const HeaderInput = builder.inputRef<{ name: string; value: string }>('HttpHeaderInput').implement({
    description: 'A header of a request.',
    fields: (t) => ({
      name: t.string({ required: true, description: 'The name.' }),
      value: t.string({ required: true, description: 'The value.' }),
    }),
  });
  const responseTypes = defineResponseTypes(builder);

  for (const app of usable) {
    const typeName = appTypeName(app);
    const Response = defineResponse(builder, app, responseTypes);
    const Input = builder
      .inputRef<z.input<typeof executeSchema>>(`Execute${typeName}RequestInput`)
      .implement({
        description: `The request to send to ${app.name}.`,
        validate: { schema: executeSchema },
        fields: (t) => ({
          connectionId: t.field({ type: 'UUID', required: true, description: 'The id of the connection.' }),
          method: t.field({ type: Method, required: true, description: 'The HTTP method.' }),
          path: t.string({ required: true, description: pathDescription }),
          query: t.string({ description: queryDescription }),
          headers: t.field({ type: [HeaderInput], description: 'Headers. Credentials are not sent on.' }),
          body: t.string({
            description: 'The body. Without a header Content-Type, it is sent as application/json.',
          }),
          preferWaitSeconds: t.int({ description: waitDescription }),
        }),
      });
    builder.mutationField(`execute${typeName}Request`, (t) =>
      t.field({
        type: Response,
        nullable: true,
        description:
          `Sends a request to ${app.name} through a connection, with its credentials, if its use policy allows it. ` +
          'Scope: connections:use.',
        args: { input: t.arg({ type: Input, required: true, description: 'The request.' }) },
        resolve: (_, { input: { connectionId, ...request } }, context) =>
          executeRequest(
            context.connections,
            requireCaller(context),
            { id: connectionId, app: app.id },
            withContext(request, context),
            context.request.signal,
          ),
      }),
    );
    builder.queryField(`${typeName.charAt(0).toLowerCase()}${typeName.slice(1)}Response`, (t) =>
      t.field({
        type: Response,
        nullable: true,
        description: `Sends a GET request to ${app.name} through a connection. Scope: connections:use.`,
        args: {
          connectionId: t.arg({ type: 'UUID', required: true, description: 'The id of the connection.' }),
          path: t.arg.string({ required: true, description: pathDescription }),
          query: t.arg.string({ description: queryDescription }),
          headers: t.arg({ type: [HeaderInput], description: 'Headers. Credentials are not sent on.' }),
          preferWaitSeconds: t.arg.int({ description: waitDescription }),
        },
        validate: { schema: readSchema },
        resolve: (_, { connectionId, ...request }, context) =>
          executeRequest(
            context.connections,
            requireCaller(context),
            { id: connectionId, app: app.id },
            withContext({ ...request, method: 'GET' }, context),
            context.request.signal,
          ),
      }),
    );
  }
}

/** Defines the types that the responses of all apps share. */
function defineResponseTypes(builder: Builder) {
  const Header = builder.objectRef<{ name: string; value: string }>('HttpHeader').implement({
    description: 'A header of a response.',
    fields: (t) => ({
      name: t.exposeString('name', { description: 'The name, in lower case.' }),
      value: t.exposeString('value', { description: 'The value.' }),
    }),
  });
  const RateLimit = builder
    .objectRef<NonNullable<ExecutedRequest['rateLimit']>>('UpstreamRateLimit')
    .implement({
      description: 'The rate limit of an app, as its response states it.',
      fields: (t) => ({
        limit: t.exposeInt('limit', { description: 'The requests that are allowed until `resetAt`.' }),
        remaining: t.exposeInt('remaining', { description: 'The requests that are left.' }),
        resetAt: t.expose('resetAt', { type: 'DateTime', description: 'The end of the window.' }),
      }),
    });
  return { Header, RateLimit };
}

function defineResponse(
  builder: Builder,
  app: App,
  { Header, RateLimit }: ReturnType<typeof defineResponseTypes>,
) {
  return builder.objectRef<ExecutedRequest>(`${appTypeName(app)}Response`).implement({
    description: `The response of ${app.name} to a request through a connection.`,
    fields: (t) => ({
      status: t.exposeInt('status', { description: 'The HTTP status, which can be that of an error.' }),
      headers: t.expose('headers', {
        type: [Header],
        description: 'The headers, without cookies and those of the connection.',
      }),
      body: t.expose('body', {
        type: 'JSON',
        nullable: true,
        description: 'JSON as it is, any other body as text; null if there is none.',
      }),
      truncated: t.exposeBoolean('truncated', {
        description: 'Whether the body has more than 1 MiB. Then `body` is the beginning, as text.',
      }),
      rateLimit: t.expose('rateLimit', {
        type: RateLimit,
        nullable: true,
        description: 'The rate limit; null if the response does not state it.',
      }),
      nextPath: t.string({
        nullable: true,
        description: 'The path and the query of the next page; null on the last one.',
        resolve: ({ next, app: linking }) => toNextPath(next, linking),
      }),
    }),
  });
}

function withContext(request: Omit<ExecuteRequest, 'authenticateAgain'>, context: Context): ExecuteRequest {
  const preferWaitSeconds = request.preferWaitSeconds ?? readWaitSeconds(context);
  const label = readConsumerLabel(context.req.headers);
  return { ...request, preferWaitSeconds, label, authenticateAgain: authenticateAgain(context) };
}

/** @throws AppError `UPSTREAM_INVALID_RESPONSE` if the link to the next page cannot be followed */
function toNextPath(next: ExecutedRequest['next'], app: App): string | null {
  if (!next) return null;
  if ('url' in next) return next.url;
  if (next.isOtherHost) return null;
  throw nextPageError(app, next.fault);
}

/** How long requests of a document wait for rate budgets, in seconds: `Prefer: wait=30` of the request. */
export function readWaitSeconds({ req }: Context): number {
  return readPreferredWait(req.headers, maxWaitSeconds);
}

export function authenticateAgain(context: Context) {
  return context.assertStillAuthenticated ?? (async () => requireCaller(context));
}
