import type { AuthMethod } from '../apps/app.ts';
import type { Credentials, Field } from '../apps/credentials.ts';
import type { InputIssue } from './misplaced-secrets.ts';

/** The fields that can be given after a connection was created, by name. */
export function getDeferrableFields({ fields }: AuthMethod): Readonly<Record<string, Field>> {
  return Object.fromEntries(Object.entries(fields).filter(([, { isDeferrable }]) => isDeferrable));
}

/** The labels of the fields that a connection waits for; none if it can be verified. */
export function listAwaitedFields(method: AuthMethod, values: Credentials['public']): string[] {
  return Object.entries(getDeferrableFields(method)).flatMap(([name, { label }]) =>
    values[name] === undefined ? [label] : [],
  );
}

/**
 * The issues of deferrable fields that are missing beside a private key of the caller. Such credentials are verified at once.
 *
 * @param input the credentials before they are validated
 */
export function findMissingDeferrable(method: AuthMethod, input: unknown): InputIssue[] {
  const { managedKeys } = method;
  const values: Readonly<Record<string, unknown>> = Object(input);
  if (!managedKeys || values[managedKeys.privateKeyField] == null) return [];
  return Object.entries(getDeferrableFields(method)).flatMap(([name, { schema }]) =>
    values[name] == null
      ? (schema.safeParse(undefined).error?.issues ?? []).map(({ message }) => ({ path: [name], message }))
      : [],
  );
}
