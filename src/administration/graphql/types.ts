import type { ObjectRef } from '@pothos/core';
import { type Builder, describedValues } from '../../graphql/builder.ts';
import { defineForwardPage, defineForwardPageInfo } from '../../graphql/forward-page.ts';
import type { ApiKey } from '../../identity/api-key.entity.ts';
import type { scopes } from '../../identity/caller.ts';
import type { Organisation, Project } from '../../identity/organisation.entity.ts';

/** The GraphQL types that API keys, projects and the viewer share. */
export type AdministrationTypes = ReturnType<typeof defineAdministrationTypes>;

const scopeDescriptions: Readonly<Record<(typeof scopes)[number], string>> = {
  'connections:read': 'Read and list connections, and subscribe to their changes.',
  'connections:write': 'Create, update, delete and restore connections.',
  'connections:verify': 'Verify credentials with an app, stored ones or others.',
  'connections:use': 'Send requests to apps through connections, as the use policy of each allows.',
  'webhooks:read': 'Read webhook endpoints, and the log of what was sent to them.',
  'webhooks:write': 'Create, update, test and delete webhook endpoints, and send messages again.',
  'audit:read': 'Read the audit trail.',
  'access:admin': 'Create and revoke API keys, create and rename projects.',
};

/** Defines the types that API keys, projects and the viewer share. */
export function defineAdministrationTypes(builder: Builder) {
  const Scope = builder.enumType('Scope', {
    description: 'The scopes of callers.',
    values: describedValues(scopeDescriptions),
  });
  const OrganisationType = builder.objectRef<Organisation>('Organisation').implement({
    description: 'The tenant. Organisations share nothing.',
    fields: (t) => ({
      id: t.expose('id', { type: 'UUID', description: 'The id. It never changes.' }),
      name: t.exposeString('name', { description: 'The display name.' }),
    }),
  });
  const ProjectType = builder.objectRef<Project>('Project').implement({
    description: 'A group of connections in an organisation.',
    fields: (t) => ({
      id: t.expose('id', { type: 'UUID', description: 'The id. It never changes.' }),
      name: t.exposeString('name', { description: 'The display name, unique in the organisation.' }),
      createdAt: t.expose('createdAt', { type: 'DateTime', description: 'The time of creation.' }),
    }),
  });
  const Key = builder.objectRef<ApiKey>('ApiKey').implement({
    description: 'An API key, without the key itself, which is not stored.',
    fields: (t) => ({
      id: t.expose('id', { type: 'UUID', description: 'The id, as in the audit trail and the log.' }),
      name: t.exposeString('name', { description: 'The display name.' }),
      scopes: t.field({ type: [Scope], description: 'Its scopes.', resolve: ({ scopes }) => scopes }),
      projectIds: t.field({
        type: ['UUID'],
        nullable: true,
        description: 'The projects that it is limited to; null if it is not limited.',
        resolve: ({ projectIds }) => projectIds,
      }),
      connectionIds: t.field({
        type: ['UUID'],
        nullable: true,
        description: 'The connections that it is limited to; null if it is not limited.',
        resolve: ({ connectionIds }) => connectionIds,
      }),
      createdAt: t.expose('createdAt', { type: 'DateTime', description: 'The time of creation.' }),
      createdBy: t.exposeString('createdBy', {
        nullable: true,
        description:
          'The creator: `key:` and the id of an API key, or `subject:` and the subject of an access token; null for the ' +
          'operator, if it is unknown, or if it is an API key that the caller cannot see.',
      }),
      expiresAt: t.expose('expiresAt', {
        type: 'DateTime',
        nullable: true,
        description: 'The time at which it expires; null if it does not.',
      }),
      revokedAt: t.expose('revokedAt', {
        type: 'DateTime',
        nullable: true,
        description: 'The time of revocation; null if it is not revoked.',
      }),
      lastUsedAt: t.expose('lastUsedAt', {
        type: 'DateTime',
        nullable: true,
        description: 'The time of the last use, to the minute; null if it was never used.',
      }),
    }),
  });
  const PageInfo = defineForwardPageInfo(builder, 'ForwardPageInfo');
  const definePage = <T>(
    name: string,
    description: string,
    Node: ObjectRef<Builder['$inferSchemaTypes'], T>,
  ) => defineForwardPage(builder, name, { description, Node, PageInfo });
  return { Scope, OrganisationType, ProjectType, Key, PageInfo, definePage };
}
