import { pageSize } from '../connections/input.ts';
import type { Builder } from '../graphql/builder.ts';
import { callerOf } from '../graphql/context.ts';
import { type AuditAction, type AuditEvent, auditActions } from './audit-event.entity.ts';
import { outcomeFilter, subjectFilter } from './input.ts';
import { type EventFilter, type EventPage, eventCursor, listEvents } from './read.ts';

/** Reading what was done and what was refused. */
export function defineAudit(builder: Builder): void {
  const Action = builder.enumType('AuditAction', {
    description: 'What somebody did, or tried to do.',
    values: Object.fromEntries(
      Object.entries(auditActions).map(([action, description]) => [action, { description }]),
    ) as { [action in AuditAction]: { description: string } },
  });
  const Event = builder.objectRef<AuditEvent>('AuditEvent').implement({
    description: 'Something that was done or refused. Events are only ever added.',
    fields: (t) => ({
      seq: t.exposeInt('seq', {
        description: "1 for the organisation's first event, one more for each after it.",
      }),
      at: t.expose('at', { type: 'DateTime', description: 'When.' }),
      action: t.field({ type: Action, description: 'What.', resolve: ({ action }) => action }),
      keyId: t.expose('keyId', {
        type: 'UUID',
        nullable: true,
        description:
          'The id of the API key that was used; null when it was none: a token, the operator or the server itself.',
      }),
      subject: t.exposeString('subject', {
        nullable: true,
        description: 'Who the identity provider says it was; null when it was no token.',
      }),
      connectionId: t.expose('connectionId', {
        type: 'UUID',
        nullable: true,
        description: 'The connection, if it is known which.',
      }),
      connectionName: t.exposeString('connectionName', {
        nullable: true,
        description: 'The name that it had then, or was to have.',
      }),
      projectId: t.expose('projectId', {
        type: 'UUID',
        nullable: true,
        description: 'The project that this is about, or that the connection belongs to.',
      }),
      apiKeyId: t.expose('apiKeyId', {
        type: 'UUID',
        nullable: true,
        description: 'The API key that was made or revoked.',
      }),
      targetName: t.exposeString('targetName', {
        nullable: true,
        description: 'The name of the API key or the project that this is about.',
      }),
      address: t.exposeString('address', {
        nullable: true,
        description: 'The address that the request came from.',
      }),
      requestId: t.expose('requestId', {
        type: 'UUID',
        nullable: true,
        description: 'The id of the request, as in the header X-Request-Id of its answer and in the log.',
      }),
      outcome: t.exposeString('outcome', {
        description: '`OK`, or the code of the error with which the attempt was refused.',
      }),
      count: t.int({
        description:
          'How many attempts this tells of. Refusals like one that has its event already are counted, and told of once a minute.',
        resolve: ({ count }) => count ?? 1,
      }),
      changedFields: t.stringList({
        description: 'The names of the fields that changed. Their values are not kept.',
        resolve: ({ fields }) => fields,
      }),
    }),
  });
  const PageInfo = builder.objectRef<EventPage>('AuditEventPageInfo').implement({
    description: 'Where a page ends and whether there is more.',
    fields: (t) => ({
      hasNextPage: t.exposeBoolean('hasNextPage', { description: 'Whether there are more after this page.' }),
      endCursor: t.exposeString('endCursor', {
        nullable: true,
        description: 'Give this as `after` to read on; null on an empty page that is the last.',
      }),
    }),
  });
  const Page = builder.objectRef<EventPage>('AuditEventPage').implement({
    description: 'Part of the audit trail, the newest events first.',
    fields: (t) => ({
      nodes: t.expose('nodes', { type: [Event], description: 'The events of this page.' }),
      pageInfo: t.field({
        type: PageInfo,
        description: 'Where the page ends and whether there is more.',
        resolve: (page) => page,
      }),
    }),
  });
  const Filter = builder.inputRef<EventFilter>('AuditEventFilter').implement({
    description: 'Which events to list. What is left out does not count.',
    fields: (t) => ({
      action: t.field({ type: Action, description: 'Only this.' }),
      connectionId: t.field({ type: 'UUID', description: 'Only what concerns this connection.' }),
      projectId: t.field({ type: 'UUID', description: 'Only what concerns this project.' }),
      keyId: t.field({ type: 'UUID', description: 'Only what was done with this API key.' }),
      subject: t.string({
        description: 'Only what was done with tokens of this subject.',
        validate: { schema: subjectFilter },
      }),
      outcome: t.string({
        description: 'Only what ended so: `OK`, or an error code.',
        validate: { schema: outcomeFilter },
      }),
      from: t.field({ type: 'DateTime', description: 'Only from this time on.' }),
      to: t.field({ type: 'DateTime', description: 'Only before this time.' }),
    }),
  });
  builder.queryField('auditEvents', (t) =>
    t.field({
      type: Page,
      description:
        'What was done and what was refused in the organisation, the newest first. Needs the scope audit:read. A filter by ' +
        'several things looks at 10,000 events in one call at most: a page may be short, or empty, while `hasNextPage` is ' +
        'true and `endCursor` leads on.',
      args: {
        filter: t.arg({ type: Filter, description: 'Which events.' }),
        first: t.arg.int({
          defaultValue: 20,
          required: true,
          description: 'How many to give, 1 to 100.',
          validate: { schema: pageSize },
        }),
        after: t.arg.string({
          description: '`endCursor` of the page before, to read on.',
          validate: { schema: eventCursor },
        }),
      },
      resolve: (_, args, context) => listEvents(context.connections, callerOf(context), args),
    }),
  );
}
