import type { Builder } from '../../graphql/builder.ts';
import { requireCaller } from '../../graphql/context.ts';
import { getViewer, type Viewer } from '../viewer.ts';
import type { AdministrationTypes } from './types.ts';

/** Defines the query `viewer`. */
export function defineViewer(builder: Builder, types: AdministrationTypes): void {
  const { Scope, OrganisationType, ProjectType, Key } = types;
  const ViewerType = builder.objectRef<Viewer>('Viewer').implement({
    description: 'The caller and its permissions.',
    fields: (t) => ({
      organisation: t.expose('organisation', {
        type: OrganisationType,
        description: 'The organisation of the caller.',
      }),
      apiKey: t.expose('apiKey', {
        type: Key,
        nullable: true,
        description: 'The API key of the request; null for an access token.',
      }),
      subject: t.string({
        nullable: true,
        description: 'The subject of the access token; null for an API key.',
        resolve: ({ caller }) => caller.subject,
      }),
      scopes: t.field({
        type: [Scope],
        description: 'The scopes of the caller.',
        resolve: ({ caller }) => [...caller.scopes],
      }),
      projects: t.expose('projects', {
        type: [ProjectType],
        nullable: true,
        description: 'The projects that the caller is limited to; null if it is not limited.',
      }),
      expiresAt: t.field({
        type: 'DateTime',
        nullable: true,
        description: 'The time at which the API key or the token expires; null if it does not.',
        resolve: ({ caller }) => caller.expiresAt,
      }),
    }),
  });
  builder.queryField('viewer', (t) =>
    t.field({
      type: ViewerType,
      description: 'The caller and its permissions. Needs no scope.',
      resolve: (_, __, context) => getViewer(context.administration, requireCaller(context)),
    }),
  );
}
