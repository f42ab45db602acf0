import type { App } from '../../apps/app.ts';

/** The part of an app's rate limit that a connection may spend unless it is set, in percent. */
export const defaultMaxShare = 50;

/** The part of an app's rate limit that a connection may spend, in percent. The rest is left to others. */
export function getMaxShare({
  maxShareOfRateLimit,
}: {
  maxShareOfRateLimit?: number | null | undefined;
}): number {
  return maxShareOfRateLimit ?? defaultMaxShare;
}

/** Describes the setting. */
export function describeMaxShare({ name }: Pick<App, 'name'>): string {
  return `The part of the rate limits of ${name} that requests through the connection may use, from 1 to 100 percent; ${defaultMaxShare} by default.`;
}
