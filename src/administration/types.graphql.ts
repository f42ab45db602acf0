import type { ObjectRef } from '@pothos/core';
import type { ApiKey } from '../access/api-key.entity.ts';
import { scopes } from '../access/caller.ts';
import type { Organisation, Project } from '../access/organisation.entity.ts';
import { type Builder, enumValues } from '../graphql/builder.ts';
import type { Page } from './page.ts';

/** What the types of access have in common. */
export type AdministrationTypes = ReturnType<typeof defineAdministrationTypes>;

const aboutScopes: Readonly<Record<(typeof scopes)[number], string>> = {
  'connections:read': 'Reading connections, listing them, hearing of their changes.',
  'connections:write': 'Making, changing, deleting and restoring connections.',
  'connections:verify': 'Asking an app whether credentials work, stored ones or others.',
  'audit:read': 'Reading the audit trail.',
  'access:admin': 'Making and revoking API keys, making and renaming projects.',
};

/** The types that API keys, projects and the viewer share. */
export function defineAdministrationTypes(builder: Builder) {
  const Scope = builder.enumType('Scope', {
    description: 'What a caller may do.',
    values: enumValues(scopes.map((id) => ({ id, description: aboutScopes[id] }))) as {
      [name: string]: { value: (typeof scopes)[number]; description: string };
    },
  });
  const OrganisationType = builder.objectRef<Organisation>('Organisation').implement({
    description: 'The tenant: nothing is ever shared between two.',
    fields: (t) => ({
      id: t.expose('id', { type: 'UUID', description: 'The id, which never changes.' }),
      name: t.exposeString('name', { description: 'What people call it.' }),
    }),
  });
  const ProjectType = builder.objectRef<Project>('Project').implement({
    description: 'A workspace in an organisation.',
    fields: (t) => ({
      id: t.expose('id', { type: 'UUID', description: 'The id, which never changes.' }),
      name: t.exposeString('name', { description: 'What people call it, unique in the organisation.' }),
      createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was made.' }),
    }),
  });
  const Key = builder.objectRef<ApiKey>('ApiKey').implement({
    description: 'What is known of an API key. The key itself is not kept.',
    fields: (t) => ({
      id: t.expose('id', { type: 'UUID', description: 'The id, as in the audit trail and the log.' }),
      name: t.exposeString('name', { description: 'What people call it.' }),
      scopes: t.field({ type: [Scope], description: 'What it may do.', resolve: ({ scopes }) => scopes }),
      projectIds: t.field({
        type: ['UUID'],
        nullable: true,
        description: 'The projects that it is limited to; null for all of the organisation.',
        resolve: ({ projectIds }) => projectIds,
      }),
      createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was made.' }),
      createdBy: t.exposeString('createdBy', {
        nullable: true,
        description:
          'What made it: `key:` and the id of an API key, or `subject:` and whom the identity provider names; null for the ' +
          'operator, and when it is not known.',
      }),
      expiresAt: t.expose('expiresAt', {
        type: 'DateTime',
        nullable: true,
        description: 'From then on it lets nobody in; null for never.',
      }),
      revokedAt: t.expose('revokedAt', {
        type: 'DateTime',
        nullable: true,
        description: 'When it was revoked; null if it was not.',
      }),
      lastUsedAt: t.expose('lastUsedAt', {
        type: 'DateTime',
        nullable: true,
        description: 'When it was last used, to the minute; null if it never was.',
      }),
    }),
  });
  const PageInfo = builder.objectRef<Page<unknown>>('ForwardPageInfo').implement({
    description: 'Where a page ends and whether there is more.',
    fields: (t) => ({
      hasNextPage: t.exposeBoolean('hasNextPage', { description: 'Whether there are more after this page.' }),
      endCursor: t.exposeString('endCursor', {
        nullable: true,
        description: 'Give this as `after` to read on; null on an empty page.',
      }),
    }),
  });
  const definePage = <T>(
    name: string,
    description: string,
    Node: ObjectRef<Builder['$inferSchemaTypes'], T>,
  ) =>
    builder.objectRef<Page<T>>(name).implement({
      description,
      fields: (t) => ({
        nodes: t.field({ type: [Node], description: 'What is on this page.', resolve: ({ nodes }) => nodes }),
        pageInfo: t.field({
          type: PageInfo,
          description: 'Where the page ends and whether there is more.',
          resolve: (page) => page,
        }),
      }),
    });
  return { Scope, OrganisationType, ProjectType, Key, definePage };
}
