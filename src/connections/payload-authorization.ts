import type { App } from '../apps/app.ts';
import { AppError } from '../common/errors.ts';
import { Secret } from '../common/secret.ts';
import type { Caller } from '../identity/caller.ts';
import { annotationNames } from './annotations.ts';
import type { ConvertConnection } from './convert-input.ts';
import type { UpdateConnection } from './update-input.ts';

/** Paths of fields of a connection, such as `credentials.instanceUrl`. A path covers the fields below it. */
export type FieldPaths = readonly string[];

/**
 * The scope that shows every field in the payload of a mutation. Without it, a payload shows what the caller sent and
 * what the mutation produced; for a create that is every field.
 */
export const readScope = 'connections:read';

/** Fields that only a path of their own covers: they are about more than the result of a verification. */
const ownPaths: FieldPaths = ['verification.details', 'conversion.verification.details'];

/** The fields that `verify…` returns without `connections:read`. */
export const verifyPayloadFields: FieldPaths = ['id', 'verification'];

/** The fields that `rotate…Key` returns without `connections:read`. */
export const rotatePayloadFields: FieldPaths = [
  ...['id', 'version', 'verification'],
  ...['credentials.keys', 'credentials.keyRegistrationFailure'],
];

/** The fields that `update…` returns without `connections:read`: those of the input, and the result of verifying them. */
export function updatePayloadFields({ account }: App, input: UpdateConnection): FieldPaths {
  const values = Object.entries(input.credentials ?? {}).filter(([, value]) => value != null);
  const isPublic = ([, value]: (typeof values)[number]) => !(value instanceof Secret);
  // Every new secret is verified. Public values alone can equal the stored ones, which are not verified again.
  const isVerified = !values.every(isPublic);
  return [
    'id',
    'version',
    ...(input.name == null ? [] : ['name']),
    ...(input.description === undefined ? [] : ['description']),
    ...annotationNames.filter((name) => input[name] !== undefined),
    ...(input.maxShareOfRateLimit === undefined ? [] : ['maxShareOfRateLimit']),
    ...(input.checkEvery === undefined ? [] : ['checkEvery']),
    ...values.filter(isPublic).map(([name]) => `credentials.${name}`),
    ...(isVerified
      ? ['verification', 'verification.details', ...(account ? [`credentials.${account.field}`] : [])]
      : []),
  ];
}

/**
 * The fields that `convert…` returns without `connections:read`: those of the input, the keys of this server, and the result of
 * verifying a private key of the caller.
 */
export function convertPayloadFields({ to }: Pick<ConvertConnection, 'to'>): FieldPaths {
  const values = Object.entries(to).filter(([, value]) => value != null);
  const names = values.flatMap(([name, value]) => (value instanceof Secret ? [] : [name]));
  const hasSecret = names.length < values.length;
  const pending = [...names, 'keys', 'jwksUrl'].map((name) => `conversion.credentials.${name}`);
  return [
    ...['id', 'version', 'method', 'conversion.method', 'conversion.startedAt', 'conversion.verification'],
    ...pending,
    ...(hasSecret
      ? ['verification', 'verification.details', ...names.map((name) => `credentials.${name}`)]
      : []),
  ];
}

/** The fields that the cancellation of a conversion returns without `connections:read`. */
export const cancelPayloadFields: FieldPaths = ['id', 'version'];

/** The fields that `restore…` returns without `connections:read`. */
export function restorePayloadFields(name: string | null | undefined): FieldPaths {
  return ['id', 'version', ...(name == null ? [] : ['name'])];
}

/**
 * Rejects a mutation that selects fields which the caller may not read, before anything is changed.
 *
 * @param fields the fields that the mutation returns without `connections:read`
 * @param selected the fields that the client selects
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

/** Whether the fields contain a path or a parent of it. */
export function isCovered(fields: FieldPaths, path: string): boolean {
  const own = ownPaths.find((each) => isAtOrBelow(path, each));
  return fields.some((field) => isAtOrBelow(path, field) && (own === undefined || isAtOrBelow(field, own)));
}

function isAtOrBelow(path: string, parent: string): boolean {
  return path === parent || path.startsWith(`${parent}.`);
}
