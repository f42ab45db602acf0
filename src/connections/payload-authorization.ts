import type { App } from '../apps/app.ts';
import { AppError } from '../common/errors.ts';
import { Secret } from '../common/secret.ts';
import type { Caller } from '../identity/caller.ts';
import type { UpdateConnection } from './input-schemas.ts';

/** Fields of a connection by their paths, such as `credentials.instanceUrl`. A path covers all that is below it. */
export type FieldPaths = readonly string[];

/**
 * The payload of a change is no way to read a connection: without `connections:read` it shows what the caller sent and
 * what the change itself produced. A new connection consists of nothing else, so its payload shows everything.
 */
export const readScope = 'connections:read';

/** What the payload of `verify…` shows without `connections:read`: the outcome. */
export const verifyPayloadFields: FieldPaths = ['id', 'verification'];

/** What the payload of `update…` shows without `connections:read`: what the input has, and what the app said about it. */
export function updatePayloadFields({ account }: App, input: UpdateConnection): FieldPaths {
  const given = Object.entries(input.credentials ?? {}).filter(([, value]) => value != null);
  const isPublic = ([, value]: (typeof given)[number]) => !(value instanceof Secret);
  // The app is asked about every secret; a public value alone may be the stored one, and then nothing is asked.
  const isVerified = !given.every(isPublic);
  return [
    ...['id', 'version'],
    ...(input.name == null ? [] : ['name']),
    ...(input.description === undefined ? [] : ['description']),
    ...given.filter(isPublic).map(([name]) => `credentials.${name}`),
    ...(isVerified ? ['verification', ...(account ? [`credentials.${account.field}`] : [])] : []),
  ];
}

/** What the payload of `restore…` shows without `connections:read`. */
export function restorePayloadFields(name: string | null | undefined): FieldPaths {
  return ['id', 'version', ...(name == null ? [] : ['name'])];
}

/**
 * Refuses a change whose payload would show more than the caller may see, before anything is changed.
 *
 * @param fields what the payload shows without `connections:read`
 * @param selected what the caller wants to be shown
 * @throws AppError `FORBIDDEN`, which names the fields
 */
export function requireSelectable(caller: Caller, fields: FieldPaths, selected: FieldPaths): void {
  if (caller.scopes.has(readScope)) return;
  const hidden = selected.filter((path) => !isCovered(fields, path));
  if (hidden.length === 0) return;
  const message =
    `This ${caller.credentialKind} lacks the scope ${readScope}, which these fields of the result need: ` +
    `${[...new Set(hidden)].join(', ')}.`;
  throw new AppError('FORBIDDEN', message, {
    remedy: `Select only ${fields.join(', ')}, or use a credential with ${readScope}. Nothing was changed.`,
  });
}

/** Whether one of these paths is this one or leads to it. */
export function isCovered(fields: FieldPaths, path: string): boolean {
  return fields.some((field) => path === field || path.startsWith(`${field}.`));
}
