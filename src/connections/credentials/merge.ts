import type { App, AuthMethod } from '../../apps/app.ts';
import type { Credentials, Field } from '../../apps/credentials.ts';
import { type Issue, validationError } from '../../common/errors.ts';
import type { Caller } from '../../identity/caller.ts';
import type { AppConnection } from '../app-connection.entity.ts';
import { describeConversion, findConversionMethod } from '../convert-input.ts';
import { type ConnectionDeps, rateLimitedOutbound, resolveAppAndMethod } from '../deps.ts';
import { unknownFieldMessage } from '../input-schemas.ts';
import type { UpdateConnection } from '../update-input.ts';
import { assertHostAllowed, getHost } from './host.ts';
import { findKeyIssues } from './keys.ts';
import { openCredentials } from './seal.ts';
import { splitCredentials } from './split.ts';

/** The credentials of a connection after an update. */
export interface MergedCredentials {
  credentials: Credentials;
  /** The names of the fields that change. */
  fields: string[];
  /** Whether stored secrets are among them. */
  hasStoredSecrets: boolean;
}

/**
 * Merges the input of an update with the stored credentials. A stored secret is sent only to the host for which it was
 * stored: a new host needs every secret again. A private key of this server is not sent to any host, and stays.
 *
 * @param before loaded with its secrets
 * @returns undefined if the credentials stay the same
 * @throws AppError `BAD_USER_INPUT` (a missing secret, a field of another method, or another organisation of the app),
 *   `HOST_NOT_ALLOWED`, `RATE_LIMITED`
 */
export async function mergeCredentials(
  deps: ConnectionDeps,
  caller: Caller,
  before: AppConnection,
  input: UpdateConnection,
): Promise<MergedCredentials | undefined> {
  const { app, method } = resolveAppAndMethod(deps, before);
  const changed = splitCredentials(method, input.credentials ?? {});
  const withoutCleared = <T>(values: Readonly<Record<string, T>>) =>
    Object.fromEntries(Object.entries(values).filter(([name]) => !isCleared(method, input, name)));
  const publicFields = { ...withoutCleared(before.publicCredentials), ...changed.public };
  const fields = [...Object.keys(changed.secret), ...changedFields(before.publicCredentials, publicFields)];

  const secrets = Object.entries(method.fields).filter(([, { kind }]) => kind === 'SECRET');
  const missing = secrets.filter(([name]) => changed.secret[name] === undefined);
  const isSameHost = getHost(method, publicFields) === getHost(method, before.publicCredentials);
  const isKept = ([name]: [string, Field]) =>
    before.isPlatformManagedCredentials && name === method.managedKeys?.privateKeyField;
  const isNeeded = ([name, field]: [string, Field]) =>
    field.required || name === method.managedKeys?.privateKeyField;
  const required = isSameHost
    ? []
    : missing.filter((each) => isNeeded(each) && !isKept(each)).map(secretRequiredIssue);
  const refused = [...unknownFieldIssues(app, method, input), ...findKeyIssues(app, method, before, input)];
  if (refused.length > 0) throw validationError([...refused, ...required]);

  if (isSameHost) {
    if (fields.length === 0 && !secrets.some(([name]) => isCleared(method, input, name))) return undefined;
    if (missing.length === 0) {
      return {
        credentials: { public: publicFields, secret: changed.secret },
        fields,
        hasStoredSecrets: false,
      };
    }
    const em = deps.database.forOrganisation(before.orgId);
    const { secret: stored } = await openCredentials(deps, em, before);
    fields.push(...changedFields(stored, withoutCleared(stored)));
    if (fields.length === 0) return undefined;
    const secret = { ...withoutCleared(stored), ...changed.secret };
    return { credentials: { public: publicFields, secret }, fields, hasStoredSecrets: true };
  }

  assertHostAllowed(deps, caller, { app, method }, publicFields);
  if (required.length > 0) throw validationError(required);
  if (!input.allowDifferentOrganisation) {
    await assertSameOrganisation(deps, caller, app, before.publicCredentials, publicFields);
  }
  const hasStoredSecrets = missing.some(isKept);
  const stored = hasStoredSecrets
    ? await openCredentials(deps, deps.database.forOrganisation(before.orgId), before)
    : undefined;
  const kept = Object.entries(stored?.secret ?? {}).filter(
    ([name]) => name === method.managedKeys?.privateKeyField,
  );
  const secret = { ...Object.fromEntries(kept), ...changed.secret };
  return { credentials: { public: publicFields, secret }, fields, hasStoredSecrets };
}

/** Whether a field becomes empty. Null for a required field, or for a private key, is the same as absent. */
function isCleared(method: AuthMethod, { credentials }: UpdateConnection, name: string): boolean {
  const isOptional = method.fields[name]?.required === false && name !== method.managedKeys?.privateKeyField;
  return credentials?.[name] === null && isOptional;
}

/** The names of the fields whose values differ. */
function changedFields(
  before: Readonly<Record<string, unknown>>,
  after: Readonly<Record<string, unknown>>,
): string[] {
  return Object.keys({ ...before, ...after }).filter((name) => before[name] !== after[name]);
}

function secretRequiredIssue([name, { label }]: [string, Field]): Issue {
  const message = `${label} is required for a new host. A stored secret is sent only to the host that it was stored for.`;
  return { path: ['credentials', name], message };
}

/** An issue for each field that belongs to another method of the app. */
function unknownFieldIssues(app: App, method: AuthMethod, { credentials }: UpdateConnection): Issue[] {
  const conversion = findConversionMethod(app);
  const getMessage = (name: string) =>
    conversion && Object.hasOwn(conversion.fields, name)
      ? `The method “${method.label}” has no such field. ${describeConversion(app, conversion)}`
      : unknownFieldMessage(method);
  return Object.entries(credentials ?? {})
    .filter(([name, value]) => value != null && !Object.hasOwn(method.fields, name))
    .map(([name]) => ({ path: ['credentials', name], message: getMessage(name) }));
}

async function assertSameOrganisation(
  deps: ConnectionDeps,
  caller: Caller,
  { name, tenantChange }: App,
  before: Credentials['public'],
  after: Credentials['public'],
): Promise<void> {
  const outbound = await rateLimitedOutbound(deps, caller);
  if (!tenantChange || (await tenantChange.isSameOrganisation(before, after, outbound))) return;
  throw validationError([
    {
      path: [tenantChange.flag],
      message: `The new host can belong to another ${name} organisation. To allow that, set ${tenantChange.flag} to true.`,
    },
  ]);
}
