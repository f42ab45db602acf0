import { Secret } from './secret.ts';

/** JSON with its keys in order and its secrets revealed: equal for equal values. */
export function canonicalJson(value: object): string {
  return JSON.stringify(ordered(value));
}

// By a loop: of functions that are made anew each time, V8 forgets what it has compiled with every full collection of
// garbage.
function ordered(value: unknown): unknown {
  if (value instanceof Secret) return value.reveal();
  if (value instanceof Date || typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(ordered);
  const entries: [string, unknown][] = [];
  for (const key of Object.keys(value).sort()) {
    const each = (value as Record<string, unknown>)[key];
    if (each !== undefined) entries.push([key, ordered(each)]);
  }
  return Object.fromEntries(entries);
}
