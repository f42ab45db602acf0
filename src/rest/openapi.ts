import { z } from 'zod';
import { createDocument, type ZodOpenApiOperationObject, type ZodOpenApiResponsesObject } from 'zod-openapi';
import type { App } from '../apps/app.ts';
import type { Field } from '../apps/credentials.ts';
import { type ErrorCode, errorCodes } from '../common/errors.ts';
import { problemResponseSchema } from './problem.ts';
import type { Route } from './route.ts';

/** The error codes of all routes that need a credential. */
const commonCodes: readonly ErrorCode[] = [
  'BAD_USER_INPUT',
  'UNAUTHENTICATED',
  'FORBIDDEN',
  'ORGANISATION_DISABLED',
  'RATE_LIMITED',
  // For an access token, if the keys of the identity provider cannot be fetched.
  'UPSTREAM_UNREACHABLE',
  'SERVICE_UNAVAILABLE',
  'INTERNAL_SERVER_ERROR',
];

/** Creates the OpenAPI document from the schemas of the routes. */
export function createOpenApi(routes: readonly Route[], apps: readonly App[], basePath: string) {
  const fields = new Map<unknown, Field>(
    apps.flatMap(({ methods }) =>
      methods.flatMap((method) =>
        Object.values(method.fields).map((field) => [field.schema, field] as const),
      ),
    ),
  );
  const paths: Record<string, Record<string, ZodOpenApiOperationObject>> = {};
  for (const route of routes) {
    const path = route.path.replace(/:(\w+)/g, '{$1}');
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: toOperation(route) };
  }
  return createDocument(
    {
      openapi: '3.1.1',
      info: {
        title: 'App Connections',
        version: '1',
        description: 'The REST API for connections to third-party products.',
      },
      servers: [{ url: basePath || '/' }],
      security: [{ apiKey: [] }],
      paths,
      components: {
        securitySchemes: {
          apiKey: { type: 'http', scheme: 'bearer' },
          setupLink: {
            type: 'http',
            scheme: 'bearer',
            description: 'The secret of a setup link: what its address has after the “#”.',
          },
        },
      },
    },
    {
      // The schema of a secret is a custom type, which zod-openapi cannot translate; `override` does.
      allowEmptySchema: { custom: true },
      override: ({ zodSchema, jsonSchema }) => {
        const field = fields.get(zodSchema);
        if (!field) return;
        jsonSchema.description = `${field.help} ${field.whereToFind}`;
        if (field.kind === 'SECRET') Object.assign(jsonSchema, { type: 'string', writeOnly: true });
      },
    },
  );
}

function toOperation({
  id,
  summary,
  schemas,
  response,
  isPaged,
  isPublic,
  credential,
  isBodyOptional,
  codes,
}: Route): ZodOpenApiOperationObject {
  const { path, query, headers: header, body } = schemas;
  const link = z.string().optional().meta({ description: 'The URL of the next page, with rel="next".' });
  return {
    operationId: id,
    summary,
    requestParams: { query, ...(path && { path }), ...(header && { header }) },
    ...(body && {
      requestBody: { required: !isBodyOptional, content: { 'application/json': { schema: body } } },
    }),
    ...(credential && { security: [{ [credential]: [] }] }),
    ...(isPublic && { security: [{}, { apiKey: [] }] }),
    responses: {
      200: {
        description: 'Success.',
        ...(isPaged && { headers: z.object({ link }) }),
        content: { 'application/json': { schema: response } },
      },
      ...problems(new Set([...commonCodes, ...(codes ?? [])])),
      ...statuses(body ? bodyStatuses : { 400: 'The request has a body, which this route does not take.' }),
    },
  };
}

const bodyStatuses = {
  400: 'The body is not a JSON object.',
  413: 'The body is too large.',
  415: 'The Content-Type of the body is not JSON.',
};

/** The statuses after which a request can be retried. */
const retriable = new Set(['429', '503']);
const retryAfter = z
  .string()
  .optional()
  .meta({ description: 'The number of seconds after which the request can be sent again, if it is known.' });

/** One response for each status; several codes may share one. */
function problems(codes: ReadonlySet<ErrorCode>): ZodOpenApiResponsesObject {
  const byStatus = Map.groupBy(codes, (code) => errorCodes[code].status);
  return statuses(
    Object.fromEntries(
      [...byStatus].map(([status, codesOfStatus]) => [
        status,
        // The descriptions name members of `extensions`, which are members of the problem document in REST.
        codesOfStatus
          .map((code) => `\`${code}\`: ${errorCodes[code].description.replaceAll('`extensions.', '`')}`)
          .join('\n\n'),
      ]),
    ),
  );
}

function statuses(descriptions: Readonly<Record<string, string>>): ZodOpenApiResponsesObject {
  return Object.fromEntries(
    Object.entries(descriptions).map(([status, description]) => [
      status,
      {
        description,
        ...(retriable.has(status) && { headers: z.object({ 'retry-after': retryAfter }) }),
        content: { 'application/problem+json': { schema: problemResponseSchema } },
      },
    ]),
  );
}
