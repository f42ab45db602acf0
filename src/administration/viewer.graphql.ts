import type { Builder } from '../graphql/builder.ts';
import { callerOf } from '../graphql/context.ts';
import type { AdministrationTypes } from './types.graphql.ts';
import { getViewer, type Viewer } from './viewer.ts';

/** `viewer`: who asks, and what they may do. */
export function defineViewer(builder: Builder, types: AdministrationTypes): void {
  const { Scope, OrganisationType, ProjectType, Key } = types;
  const ViewerType = builder.objectRef<Viewer>('Viewer').implement({
    description: 'Who asks, and what they may do.',
    fields: (t) => ({
      organisation: t.expose('organisation', { type: OrganisationType, description: 'Whose caller it is.' }),
      apiKey: t.expose('apiKey', {
        type: Key,
        nullable: true,
        description: 'The API key that was given; null when it was a token of the identity provider.',
      }),
      subject: t.string({
        nullable: true,
        description: 'Who the identity provider says it is; null when it was an API key.',
        resolve: ({ caller }) => caller.subject,
      }),
      scopes: t.field({
        type: [Scope],
        description: 'What the caller may do.',
        resolve: ({ caller }) => [...caller.scopes],
      }),
      projects: t.expose('projects', {
        type: [ProjectType],
        nullable: true,
        description: 'The projects that the caller is limited to; null for all of the organisation.',
      }),
      expiresAt: t.field({
        type: 'DateTime',
        nullable: true,
        description: 'When the API key or the token lets nobody in any more; null for never.',
        resolve: ({ caller }) => caller.expiresAt,
      }),
    }),
  });
  builder.queryField('viewer', (t) =>
    t.field({
      type: ViewerType,
      description: 'Who asks, and what they may do. Needs no scope.',
      resolve: (_, __, context) => getViewer(context.administration, callerOf(context)),
    }),
  );
}
