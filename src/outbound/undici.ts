import { createRequire } from 'node:module';

/** Loads undici, which a server does not need before its first request to another host. */
export function loadUndici(): typeof import('undici') {
  return createRequire(import.meta.url)('undici');
}
