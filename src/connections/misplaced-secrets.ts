import type { z } from 'zod';
import { Secret } from '../common/secret.ts';
import { maxNotesBytes } from './annotations.ts';

/** An issue of zod. */
export type InputIssue = Pick<z.core.$ZodIssue, 'path' | 'message'>;

/** Adds the issues of `misplacedSecrets` to those of a schema. */
export function refuseMisplacedSecrets(input: unknown, context: z.RefinementCtx): void {
  for (const issue of misplacedSecrets(input))
    context.addIssue({ ...issue, code: 'custom', path: [...issue.path] });
}

/** Longer texts are rejected by their own schema; searching them in every encoding would take long. */
function isSearchable({ length }: string): boolean {
  return length <= 2 * maxNotesBytes;
}

/** Issues for public fields that contain the secret. Everyone who may read the connection sees them. */
export function misplacedSecrets(input: unknown): InputIssue[] {
  const { name, description, tags, owner, notes, credentials } = Object(input);
  const fields = Object.entries(Object(credentials));
  const secrets = fields.flatMap(([, value]) =>
    value instanceof Secret && isSearchable(value.reveal()) ? [value, new Secret(value.reveal().trim())] : [],
  );
  const shown: [string[], unknown][] = [
    [['name'], name],
    [['description'], description],
    [['tags'], Array.isArray(tags) ? tags.flatMap((tag) => Object.values(Object(tag))) : []],
    [['owner'], Object.values(Object(owner))],
    [['notes'], notes],
    ...fields.map(([field, value]): [string[], unknown] => [['credentials', field], value]),
  ];
  const isSecret = (value: unknown): boolean =>
    Array.isArray(value)
      ? value.some(isSecret)
      : typeof value === 'string' && isSearchable(value) && secrets.some((secret) => secret.appearsIn(value));
  return shown.flatMap(([path, value]) =>
    isSecret(value) ? [{ path, message: 'This public field contains the secret. Remove it.' }] : [],
  );
}
