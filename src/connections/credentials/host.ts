import type { App, AuthMethod } from '../../apps/app.ts';
import type { Credentials } from '../../apps/credentials.ts';
import { hostNotAllowedError, ownOutboundError } from '../../apps/map-outbound-error.ts';
import { AppError } from '../../common/errors.ts';
import type { Caller } from '../../identity/caller.ts';
import { OutboundError } from '../../outbound/outbound-error.ts';
import { type ConnectionDeps, unmeteredOutbound } from '../deps.ts';

/** The name of the field with the URL of the app's instance, if the method has one. */
export function findUrlField({ fields }: AuthMethod): string | undefined {
  return Object.keys(fields).find((name) => fields[name]?.kind === 'URL');
}

/** The field with the URL of each method, as JSON. */
export function urlFields(apps: readonly App[]): string {
  const fields = apps.flatMap((app) =>
    app.methods.map((method) => [`${app.id} ${method.id}`, findUrlField(method)]),
  );
  return JSON.stringify(Object.fromEntries(fields));
}

/** A host of an organisation. */
export interface Host {
  orgId: string;
  /** `https://example.okta.com`. */
  origin: string;
}

/** The origin of the host of a connection; empty if its method has none. The parameter is `urlFields`. */
export const originSql = `coalesce(public_credentials ->> (?::jsonb ->> (app || ' ' || method)), '')`;

/** Returns the origin of the host of a connection, as `originSql`. */
export function getHostOrigin(
  { apps }: Pick<ConnectionDeps, 'apps'>,
  connection: { app: string; method: string; publicCredentials: Readonly<Record<string, string>> },
): string {
  const methods = apps.find(({ id }) => id === connection.app)?.methods;
  const method = methods?.find(({ id }) => id === connection.method);
  return connection.publicCredentials[(method && findUrlField(method)) ?? ''] ?? '';
}

/** The host to which the credentials are sent: the one of the method's URL field, or empty if the method has none. */
export function getHost(method: AuthMethod, publicCredentials: Credentials['public']): string {
  const url = publicCredentials[findUrlField(method) ?? ''];
  return url ? new URL(url).host : '';
}

/**
 * Rejects credentials for a host to which this server must not send requests, before DNS and the database are queried.
 *
 * @throws AppError `HOST_NOT_ALLOWED`, or `UPSTREAM_UNREACHABLE` if too many outbound requests are queued
 */
export function assertHostAllowed(
  deps: ConnectionDeps,
  caller: Caller,
  { app, method }: { app: App; method: AuthMethod },
  publicCredentials: Credentials['public'],
): void {
  const field = findUrlField(method);
  const url = field && publicCredentials[field];
  if (!url) return;
  try {
    unmeteredOutbound(deps, caller).assertCanGet(new URL(url));
  } catch (error) {
    if (!(error instanceof OutboundError)) throw error;
    const hostNotAllowed = hostNotAllowedError(error);
    if (!hostNotAllowed) throw ownOutboundError(error, app.name) ?? error;
    const { code, message, remedy } = hostNotAllowed;
    throw new AppError(code, message, { remedy, issues: [{ path: ['credentials', field], message }] });
  }
}
