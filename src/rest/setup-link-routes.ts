import { z } from 'zod';
import { type App, appTypeName } from '../apps/app.ts';
import { strictObject } from '../common/strict-object.ts';
import { typedKeys } from '../common/typed-keys.ts';
import type { ConnectionDeps } from '../connections/deps.ts';
import { uuid } from '../connections/input-schemas.ts';
import type { SetupLink } from '../connections/setup-link.entity.ts';
import { createSetupLink, expiresInDescription, expiresInSchema } from '../connections/setup-links/create.ts';
import { listSetupLinks } from '../connections/setup-links/list.ts';
import { revokeSetupLink } from '../connections/setup-links/revoke.ts';
import { getSetupLinkStatus, setupLinkStatuses } from '../connections/setup-links/setup-link.ts';
import { idPath, noQuery } from './request-schemas.ts';
import { type Route, route } from './route.ts';

const time = z.iso.datetime();
const setupLinkResponse = z
  .object({
    id: z.guid().meta({ description: 'The id, as in the audit trail and the log.' }),
    connectionId: z.guid().meta({ description: 'The id of the connection.' }),
    status: z.enum(typedKeys(setupLinkStatuses)).meta({ description: 'The state.' }),
    createdAt: time.meta({ description: 'The time of creation.' }),
    expiresAt: time.meta({ description: 'The time at which it expires.' }),
    openedAt: time
      .nullable()
      .meta({ description: 'The time at which it was first opened; null if it never was.' }),
    finishedAt: time
      .nullable()
      .meta({ description: 'The time at which it led to working credentials; null if it has not.' }),
    revokedAt: time.nullable().meta({ description: 'The time of revocation; null if it is not revoked.' }),
  })
  .meta({ id: 'ConnectionSetupLink', description: 'A setup link of a connection, without its secret.' });

/** The same for all apps: the OpenAPI document has it once. */
const createSetupLinkBody = strictObject({
  expiresIn: expiresInSchema.optional().meta({ description: expiresInDescription }),
}).meta({ id: 'CreateSetupLink', description: 'The setup link to create.' });

/** The routes of the setup links of a connection. */
export function createSetupLinkRoutes(deps: ConnectionDeps, app: App, path: string): Route[] {
  const links = `${path}/:id/setup-links`;
  const typeName = appTypeName(app);
  return [
    route(
      {
        method: 'POST',
        path: links,
        id: `create${typeName}ConnectionSetupLink`,
        summary:
          `Creates a one-time address at which a person without a credential of this server sets up the credentials for ` +
          `${app.name}. Scope: connections:write.`,
        schemas: {
          path: idPath,
          query: noQuery,
          body: createSetupLinkBody,
        },
        isBodyOptional: true,
        response: z.object({
          setupLink: setupLinkResponse,
          url: z.string().meta({
            description:
              'The address to send to the person who administers the app. Only this response contains it.',
          }),
        }),
        codes: ['NOT_FOUND'],
      },
      async ({ path: { id }, body: { expiresIn } }, caller) => {
        const { setupLink, url } = await createSetupLink(deps, caller, { id, app: app.id }, expiresIn);
        return { body: { setupLink: serializeSetupLink(setupLink), url: url.reveal() } };
      },
    ),
    route(
      {
        method: 'GET',
        path: links,
        id: `list${typeName}ConnectionSetupLinks`,
        summary:
          'Lists the newest 50 setup links of a connection, also those that no longer work. Scope: connections:write.',
        schemas: { path: idPath, query: noQuery },
        response: z.object({ setupLinks: z.array(setupLinkResponse) }),
        codes: ['NOT_FOUND'],
      },
      async ({ path: { id } }, caller) => {
        const found = await listSetupLinks(deps, caller, { id, app: app.id });
        return { body: { setupLinks: found.map(serializeSetupLink) } };
      },
    ),
    route(
      {
        method: 'POST',
        path: `${links}/:setupLinkId/revoke`,
        id: `revoke${typeName}ConnectionSetupLink`,
        summary: 'Revokes a setup link. It stops working at once. Scope: connections:write.',
        schemas: {
          path: idPath.extend({ setupLinkId: uuid.meta({ description: 'The id of the setup link.' }) }),
          query: noQuery,
        },
        response: z.object({ setupLink: setupLinkResponse }),
        codes: ['NOT_FOUND'],
      },
      async ({ path: { id, setupLinkId } }, caller) => {
        const target = { id: setupLinkId, connection: { id, app: app.id } };
        return { body: { setupLink: serializeSetupLink(await revokeSetupLink(deps, caller, target)) } };
      },
    ),
  ];
}

function serializeSetupLink(link: SetupLink) {
  return {
    id: link.id,
    connectionId: link.connectionId,
    status: getSetupLinkStatus(link),
    createdAt: link.createdAt.toISOString(),
    expiresAt: link.expiresAt.toISOString(),
    openedAt: link.openedAt?.toISOString() ?? null,
    finishedAt: link.finishedAt?.toISOString() ?? null,
    revokedAt: link.revokedAt?.toISOString() ?? null,
  };
}
