import type { EnumRef } from '@pothos/core';
import { dateTime } from '../../common/date-time.ts';
import { type Builder, describedValues } from '../../graphql/builder.ts';
import { requireCaller } from '../../graphql/context.ts';
import { defineForwardPage, defineForwardPageInfo, forwardPageArgs } from '../../graphql/forward-page.ts';
import { type AuditAction, type AuditEvent, auditActions } from '../audit-event.entity.ts';
import { type EventFilter, outcomeFilter, subjectFilter } from '../input.ts';
import { eventCursor, listEvents } from '../list-events.ts';
import { parseUse, type RecordedUse } from '../recorded-use.ts';

/** Defines the query `auditEvents` and its types. */
export function defineAudit(builder: Builder): void {
  const Action = builder.enumType('AuditAction', {
    description:
      'The actions that are audited. Refused attempts have the same action, with the error code as outcome.',
    values: describedValues(auditActions),
  });
  const Event = defineEvent(builder, Action);
  const PageInfo = defineForwardPageInfo(builder, 'AuditEventPageInfo');
  const Page = defineForwardPage(builder, 'AuditEventPage', {
    description: 'A page of the audit trail, newest events first.',
    Node: Event,
    PageInfo,
    nodes: 'The events of this page.',
  });
  const Filter = defineFilter(builder, Action);
  builder.queryField('auditEvents', (t) =>
    t.field({
      type: Page,
      description:
        'The events of the audit trail of the organisation, newest first. Scope: audit:read. With several filters, a request ' +
        'examines at most 10,000 events: a page can be short or empty while `hasNextPage` is true. Continue with ' +
        '`endCursor`.',
      args: {
        filter: t.arg({ type: Filter, description: 'Conditions for events.' }),
        ...forwardPageArgs(t, eventCursor),
      },
      resolve: (_, args, context) => listEvents(context.connections, requireCaller(context), args),
    }),
  );
}

/** The GraphQL enum of the actions. */
type ActionEnum = EnumRef<Builder['$inferSchemaTypes'], AuditAction>;

function defineEvent(builder: Builder, Action: ActionEnum) {
  const Use = builder.objectRef<RecordedUse>('AuditedUse').implement({
    description: 'A write through a connection.',
    fields: (t) => ({
      method: t.exposeString('method', { description: 'The HTTP method.' }),
      path: t.exposeString('path', {
        description: 'The path, of which events keep 500 characters together with method and query.',
      }),
      queryParameters: t.exposeStringList('queryParameters', {
        description: 'The names of the parameters of the query; `*` for one without a value.',
      }),
      status: t.exposeInt('status', {
        nullable: true,
        description: 'The status of the response; null if there was none, for the reason in `outcome`.',
      }),
    }),
  });
  return builder.objectRef<AuditEvent>('AuditEvent').implement({
    description: 'An entry of the audit trail: a change, or a refused attempt.',
    fields: (t) => ({
      seq: t.exposeInt('seq', {
        description: 'The sequence number in the organisation, from 1.',
      }),
      at: t.expose('at', { type: 'DateTime', description: 'The time of the event.' }),
      action: t.field({ type: Action, description: 'The action.', resolve: ({ action }) => action }),
      keyId: t.expose('keyId', {
        type: 'UUID',
        nullable: true,
        description:
          'The API key of the request; null for an access token, the operator or the server itself.',
      }),
      subject: t.exposeString('subject', {
        nullable: true,
        description: 'The subject of the access token; null if there was none.',
      }),
      connectionId: t.expose('connectionId', {
        type: 'UUID',
        nullable: true,
        description: 'The connection, if it is known.',
      }),
      connectionName: t.exposeString('connectionName', {
        nullable: true,
        description: 'The name of the connection at the time, or the requested name.',
      }),
      projectId: t.expose('projectId', {
        type: 'UUID',
        nullable: true,
        description: 'The project, or the project of the connection.',
      }),
      apiKeyId: t.expose('apiKeyId', {
        type: 'UUID',
        nullable: true,
        description: 'The API key that was created or revoked.',
      }),
      targetName: t.exposeString('targetName', {
        nullable: true,
        description:
          'The name of the API key or the project; for a write through a connection, its method, path and status, without the values of the query.',
      }),
      use: t.field({
        type: Use,
        nullable: true,
        description: 'The write through a connection that the event records; null for any other event.',
        resolve: ({ action, targetName }) =>
          action === 'USE_CONNECTION' && targetName ? parseUse(targetName) : null,
      }),
      setupLinkId: t.expose('setupLinkId', {
        type: 'UUID',
        nullable: true,
        description:
          'The setup link that the event is about; without `keyId` and `subject`, the setup link that acted.',
      }),
      address: t.exposeString('address', {
        nullable: true,
        description: 'The client address of the request.',
      }),
      requestId: t.expose('requestId', {
        type: 'UUID',
        nullable: true,
        description: 'The id of the request, as in the response header X-Request-Id and in the log.',
      }),
      outcome: t.exposeString('outcome', {
        description:
          '`OK`, or the error code with which the attempt was refused. `CLIENT_DISCONNECTED`: the client of a request through ' +
          'a connection did not wait for the response, and the app may have done what it was asked to.',
      }),
      count: t.int({
        description:
          'The number of attempts that the event stands for. Identical refusals are counted, and recorded once a minute.',
        resolve: ({ count }) => count ?? 1,
      }),
      changedFields: t.stringList({
        description: 'The names of the changed fields. Their values are not stored.',
        resolve: ({ fields }) => fields,
      }),
    }),
  });
}

function defineFilter(builder: Builder, Action: ActionEnum) {
  return builder.inputRef<EventFilter>('AuditEventFilter').implement({
    description: 'Conditions for events. All must hold.',
    fields: (t) => ({
      action: t.field({ type: Action, description: 'Events with this action.' }),
      connectionId: t.field({ type: 'UUID', description: 'Events about this connection.' }),
      projectId: t.field({ type: 'UUID', description: 'Events about this project.' }),
      keyId: t.field({ type: 'UUID', description: 'Events of requests with this API key.' }),
      subject: t.string({
        description: 'Events of requests with access tokens of this subject.',
        validate: { schema: subjectFilter },
      }),
      outcome: t.string({
        description: 'Events with this outcome: `OK` or an error code.',
        validate: { schema: outcomeFilter },
      }),
      writesOnly: t.boolean({
        description: 'Whether only writes through connections are listed, those with `use`.',
      }),
      from: t.field({
        type: 'DateTime',
        description: 'Events at this time or later.',
        validate: { schema: dateTime },
      }),
      to: t.field({
        type: 'DateTime',
        description: 'Events before this time.',
        validate: { schema: dateTime },
      }),
    }),
  });
}
