import { Secret } from './secret.ts';

/** Serialises a value as JSON with sorted keys and revealed secrets, so that equal values give equal texts. */
export function canonicalJson(value: object): string {
  return JSON.stringify(sortKeys(value));
}

function sortKeys(value: unknown): unknown {
  if (value instanceof Secret) return value.reveal();
  if (value instanceof Date || typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(sortKeys);
  const entries: [string, unknown][] = [];
  for (const key of Object.keys(value).sort()) {
    const each = (value as Record<string, unknown>)[key];
    if (each !== undefined) entries.push([key, sortKeys(each)]);
  }
  return Object.fromEntries(entries);
}
