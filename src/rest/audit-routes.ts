import { z } from 'zod';
import { auditActions } from '../audit/audit-event.entity.ts';
import { outcomeFilter, subjectFilter } from '../audit/input.ts';
import { eventCursor, listEvents } from '../audit/list-events.ts';
import type { RefusalAuditDeps } from '../audit/record-refusals.ts';
import { serializeEvent } from '../audit/serialize-event.ts';
import { timestamp } from '../common/date-time.ts';
import { strictObject } from '../common/strict-object.ts';
import { typedKeys } from '../common/typed-keys.ts';
import { uuid } from '../connections/input-schemas.ts';
import { linkHeader } from './paginate.ts';
import { booleanParameter, pageQuery } from './request-schemas.ts';
import { type Route, route } from './route.ts';

const path = '/api/v1/audit-events';
const action = z.enum(typedKeys(auditActions));

const eventQuery = strictObject({
  action: action.optional().meta({ description: 'Only events with this action.' }),
  connectionId: uuid.optional().meta({ description: 'Only events about this connection.' }),
  projectId: uuid.optional().meta({ description: 'Only events about this project.' }),
  keyId: uuid.optional().meta({ description: 'Only events of requests with this API key.' }),
  subject: subjectFilter
    .optional()
    .meta({ description: 'Only events of requests with access tokens of this subject.' }),
  outcome: outcomeFilter
    .optional()
    .meta({ description: 'Only events with this outcome: `OK` or an error code.' }),
  writesOnly: booleanParameter
    .optional()
    .meta({ description: 'Whether only writes through connections are listed, those with `use`.' }),
  from: timestamp.optional().meta({ description: 'Only events at this time or later.' }),
  to: timestamp.optional().meta({ description: 'Only events before this time.' }),
  ...pageQuery(eventCursor),
});

const text = z.string().nullable();
const id = z.guid().nullable();
const eventResponse = z
  .object({
    seq: z.int().meta({ description: 'The sequence number in the organisation, from 1.' }),
    at: z.iso.datetime().meta({ description: 'The time of the event.' }),
    action: action.meta({ description: 'The action.' }),
    keyId: id.meta({ description: 'The API key of the request; null for an access token.' }),
    subject: text.meta({ description: 'The subject of the access token; null for an API key.' }),
    connectionId: id.meta({ description: 'The id of the connection, if it is known.' }),
    connectionName: text.meta({
      description: 'The name of the connection at the time, or the requested name.',
    }),
    projectId: id.meta({ description: 'The id of the project.' }),
    apiKeyId: id.meta({ description: 'The id of the API key that was created or revoked.' }),
    targetName: text.meta({
      description:
        'The name of the API key or the project; for a write through a connection, its method, path and status, without the values of the query.',
    }),
    use: z
      .object({
        method: z.string().meta({ description: 'The HTTP method.' }),
        path: z.string().meta({ description: 'The path.' }),
        queryParameters: z
          .array(z.string())
          .meta({ description: 'The names of the parameters of the query; `*` for one without a value.' }),
        status: z
          .int()
          .nullable()
          .meta({ description: 'The status of the response; null if there was none.' }),
      })
      .nullable()
      .meta({
        description: 'The write through a connection that the event records; null for any other event.',
      }),
    setupLinkId: id.meta({
      description:
        'The id of the setup link that the event is about; without `keyId` and `subject`, of the setup link that acted.',
    }),
    address: text.meta({ description: 'The client address of the request.' }),
    requestId: id.meta({ description: 'The id of the request, as in the header `X-Request-Id`.' }),
    outcome: z.string().meta({
      description:
        '`OK` or an error code. `CLIENT_DISCONNECTED`: the client of a request through a connection did not wait for the response.',
    }),
    count: z.int().meta({
      description:
        'The number of attempts that the event stands for. Only identical refusals are counted together.',
    }),
    changedFields: z.array(z.string()).meta({ description: 'The names of the fields that changed.' }),
  })
  .meta({ id: 'AuditEvent', description: 'An entry of the audit trail: a change, or a refused attempt.' });

/** The route of the audit trail. */
export function auditRoute(deps: RefusalAuditDeps): Route {
  return route(
    {
      method: 'GET',
      path,
      id: 'listAuditEvents',
      summary: 'Lists the events of the audit trail, newest first. Scope: audit:read.',
      schemas: { query: eventQuery },
      response: z.object({ auditEvents: z.array(eventResponse) }),
      isPaged: true,
    },
    async ({ query }, caller) => {
      const { limit: first = 20, cursor: after, ...filter } = query;
      const { nodes, hasNextPage, endCursor } = await listEvents(deps, caller, { filter, first, after });
      return {
        body: { auditEvents: nodes.map(serializeEvent) },
        ...linkHeader(path, query, hasNextPage ? endCursor : null),
      };
    },
  );
}
