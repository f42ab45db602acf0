import type { AuthMethod } from '../../apps/app.ts';
import type { Credentials, FieldValue } from '../../apps/credentials.ts';
import { Secret } from '../../common/secret.ts';

/** Separates the credentials of a method into public and secret fields. Fields of other methods are left out. */
export function splitCredentials(
  method: AuthMethod,
  values: Readonly<Record<string, FieldValue>>,
): Credentials {
  const publicFields: Record<string, string> = {};
  const secret: Record<string, Secret> = {};
  for (const name of Object.keys(method.fields)) {
    const value = values[name];
    if (value instanceof Secret) secret[name] = value;
    else if (value != null) publicFields[name] = value;
  }
  return { public: publicFields, secret };
}
