import { z } from 'zod';
import { type AuditAction, type AuditEvent, auditActions } from '../audit/audit-event.entity.ts';
import type { RefusalParts } from '../audit/audited.ts';
import { outcomeFilter, subjectFilter } from '../audit/input.ts';
import { eventCursor, listEvents } from '../audit/read.ts';
import { nothingElse, uuid } from '../connections/input.ts';
import { pageQuery, timestamp } from './input.ts';
import { linkTo } from './page.ts';
import { type Route, route } from './route.ts';

const path = '/api/v1/audit-events';
const action = z.enum(Object.keys(auditActions) as [AuditAction, ...AuditAction[]]);

const eventQuery = nothingElse({
  action: action.optional().meta({ description: 'Only this.' }),
  connectionId: uuid.optional().meta({ description: 'Only what concerns this connection.' }),
  projectId: uuid.optional().meta({ description: 'Only what concerns this project.' }),
  keyId: uuid.optional().meta({ description: 'Only what was done with this API key.' }),
  subject: subjectFilter.optional().meta({ description: 'Only what was done with tokens of this subject.' }),
  outcome: outcomeFilter.optional().meta({ description: 'Only what ended so: `OK`, or an error code.' }),
  from: timestamp.optional().meta({ description: 'Only from this time on.' }),
  to: timestamp.optional().meta({ description: 'Only before this time.' }),
  ...pageQuery(eventCursor),
});

const text = z.string().nullable();
const id = z.guid().nullable();
const eventAnswer = z
  .object({
    seq: z.int().meta({ description: "1 for the organisation's first event, one more for each after it." }),
    at: z.iso.datetime().meta({ description: 'When.' }),
    action: action.meta({ description: 'What.' }),
    keyId: id.meta({ description: 'The API key that was used; null when it was none.' }),
    subject: text.meta({ description: 'Who the identity provider says it was; null when it was no token.' }),
    connectionId: id.meta({ description: 'The connection, if it is known which.' }),
    connectionName: text.meta({ description: 'The name that it had then, or was to have.' }),
    projectId: id.meta({ description: 'The project that this is about.' }),
    apiKeyId: id.meta({ description: 'The API key that was made or revoked.' }),
    targetName: text.meta({ description: 'The name of the API key or the project that this is about.' }),
    address: text.meta({ description: 'The address that the request came from.' }),
    requestId: id.meta({ description: 'The id of the request, as in the header X-Request-Id.' }),
    outcome: z.string().meta({ description: '`OK`, or the code of the error.' }),
    count: z
      .int()
      .meta({ description: 'How many attempts this tells of; more than 1 only of refusals that are alike.' }),
    changedFields: z.array(z.string()).meta({ description: 'The names of the fields that changed.' }),
  })
  .meta({ id: 'AuditEvent', description: 'Something that was done or refused. Events are only ever added.' });

/** Reading the audit trail. */
export function auditRoute(parts: RefusalParts): Route {
  return route(
    {
      method: 'GET',
      path,
      id: 'listAuditEvents',
      summary: 'Lists what was done and what was refused, the newest first. Needs the scope audit:read.',
      rules: { query: eventQuery },
      answer: z.object({ auditEvents: z.array(eventAnswer) }),
      isPaged: true,
    },
    async ({ query }, caller) => {
      const { limit: first = 20, cursor: after, ...filter } = query;
      const { nodes, hasNextPage, endCursor } = await listEvents(parts, caller, { filter, first, after });
      return {
        body: { auditEvents: nodes.map(showEvent) },
        ...linkTo(path, query, hasNextPage ? endCursor : null),
      };
    },
  );
}

function showEvent(event: AuditEvent) {
  return {
    seq: event.seq,
    at: event.at.toISOString(),
    action: event.action,
    keyId: event.keyId ?? null,
    subject: event.subject ?? null,
    connectionId: event.connectionId ?? null,
    connectionName: event.connectionName ?? null,
    projectId: event.projectId ?? null,
    apiKeyId: event.apiKeyId ?? null,
    targetName: event.targetName ?? null,
    address: event.address ?? null,
    requestId: event.requestId ?? null,
    outcome: event.outcome,
    count: event.count ?? 1,
    changedFields: event.fields,
  };
}
