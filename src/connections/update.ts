import type { Caller } from '../access/caller.ts';
import type { App, Credentials } from '../apps/app.ts';
import { auditRefusals } from '../audit/audited.ts';
import { badInput } from '../errors.ts';
import type { AppConnection } from './app-connection.entity.ts';
import { assertVersion, changeConnection } from './change.ts';
import {
  assertVerified,
  hostOf,
  openCredentials,
  outcomeColumns,
  part,
  sealedColumns,
} from './credentials.ts';
import { type Keep, once } from './idempotency.ts';
import type { UpdateConnection } from './input.ts';
import { appAndMethodOf, type ConnectionParts } from './parts.ts';
import { assertNameFree, keepingNamesApart } from './place.ts';
import { findConnection } from './read.ts';
import { recall, snapshot } from './snapshot.ts';

const namePath = ['input', 'name'];

/**
 * Changes what is given and leaves the rest. New credentials are verified first, and replace the old ones only if
 * the app accepts them; a stored secret is never sent to a host that it was not given for.
 *
 * @param appId the id of the app; a connection to another app is not found
 * @throws Problem `FORBIDDEN`, `NOT_FOUND`, `VERSION_CONFLICT`, `NAME_TAKEN`, `BAD_USER_INPUT` (a secret is missing, or
 *   the app's organisation would be another), or what the app's diagnosis says
 */
export async function updateConnection(
  parts: ConnectionParts,
  caller: Caller,
  appId: string,
  id: string,
  input: UpdateConnection,
): Promise<AppConnection> {
  const { idempotencyKey, ...asked } = input;
  const request = { update: id, ...asked };
  return auditRefusals(parts, caller, { action: 'UPDATE_CONNECTION', connectionId: id }, () => {
    caller.assertMay('connections:write');
    const work = (keep: Keep) => change(parts, caller, { app: appId, id }, input, keep);
    return once(parts, caller, { idempotencyKey, request }, work, recall);
  });
}

async function change(
  parts: ConnectionParts,
  caller: Caller,
  where: { app: string; id: string },
  input: UpdateConnection,
  keep: Keep,
): Promise<AppConnection> {
  const em = parts.database.fork();
  const before = await findConnection(em, caller, where, { withSecrets: true });
  const target = { id: where.id, version: input.version };
  assertVersion(before, target);
  const name = input.name ?? before.name;
  if (name !== before.name) await assertNameFree(em, before, name, namePath);

  const { app, method } = appAndMethodOf(parts, before);
  const credentials = await newCredentials(parts, before, input);
  const diagnosis = credentials && (await method.verify(credentials, parts.outbound));
  if (diagnosis) assertVerified(diagnosis);
  const whose = { app, method, orgId: before.orgId, connectionId: where.id };
  const columns = credentials &&
    diagnosis && {
      ...(await sealedColumns(parts, em, whose, credentials)),
      ...outcomeColumns(diagnosis, new Date()),
    };

  return keepingNamesApart(before, namePath, () =>
    changeConnection(parts, caller, {
      target,
      action: 'UPDATE_CONNECTION',
      apply: (connection) => {
        const isNamed = input.name != null && input.name !== connection.name;
        const isDescribed = input.description !== undefined && input.description !== connection.description;
        Object.assign(connection, columns);
        if (input.name != null) connection.name = input.name;
        if (input.description !== undefined) connection.description = input.description;
        return [
          ...(isNamed ? ['name'] : []),
          ...(isDescribed ? ['description'] : []),
          ...(columns ? Object.keys(part(method, input.credentials ?? {}).secret) : []).map(inCredentials),
          ...(columns ? changedOf(before.publicCredentials, columns.publicCredentials) : []).map(
            inCredentials,
          ),
        ];
      },
      keep: (tx, connection) => keep(tx, snapshot(connection)),
    }),
  );
}

const inCredentials = (name: string) => `credentials.${name}`;

function changedOf(before: Credentials['public'], after: Credentials['public']): string[] {
  return Object.keys(after).filter((name) => before[name] !== after[name]);
}

/** The whole of the credentials as they would be, or undefined when they stay as they are. */
async function newCredentials(
  parts: ConnectionParts,
  before: AppConnection,
  input: UpdateConnection,
): Promise<Credentials | undefined> {
  const { app, method } = appAndMethodOf(parts, before);
  const given = part(method, input.credentials ?? {});
  const shown = { ...before.publicCredentials, ...given.public };
  const isAsBefore = Object.entries(shown).every(([name, value]) => before.publicCredentials[name] === value);
  if (isAsBefore && Object.keys(given.secret).length === 0) return undefined;

  const missing = Object.entries(method.fields).filter(
    ([name, { kind }]) => kind === 'SECRET' && given.secret[name] === undefined,
  );
  if (hostOf(method, shown) === hostOf(method, before.publicCredentials)) {
    if (missing.length === 0) return { public: shown, secret: given.secret };
    const stored = await openCredentials(parts, parts.database.fork(), before);
    return { public: shown, secret: { ...stored.secret, ...given.secret } };
  }
  const needed = missing.filter(([, { required }]) => required);
  if (needed.length > 0) {
    throw badInput(
      needed.map(([name, { label }]) => ({
        path: ['input', 'credentials', name],
        message: `${label}: needed again for a new host. What is stored goes to no host that it was not given for.`,
      })),
    );
  }
  if (!input.allowDifferentOrganisation) await assertSameOrganisation(parts, app, before, shown);
  return { public: shown, secret: given.secret };
}

async function assertSameOrganisation(
  { outbound }: ConnectionParts,
  { name, moving }: App,
  before: AppConnection,
  shown: Credentials['public'],
): Promise<void> {
  if (!moving || (await moving.isSameOrganisation(before.publicCredentials, shown, outbound))) return;
  throw badInput([
    {
      path: ['input', moving.flag],
      message: `The new host is, or may be, another ${name} organisation. If that is what you want, set ${moving.flag} to true.`,
    },
  ]);
}
