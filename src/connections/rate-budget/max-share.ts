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
