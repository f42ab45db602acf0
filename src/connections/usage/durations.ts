/**
 * Durations are counted in buckets whose bounds grow by the factor 2^(1/4), the same everywhere, so that the counts of
 * servers and hours can be added. Bucket 0 is for less than a millisecond.
 */
const bucketsPerDoubling = 4;

/** The last bucket is for everything from 13 minutes. */
const lastBucket = 79;

/** Returns the bucket of a duration in milliseconds. */
export function durationBucket(ms: number): number {
  if (!(ms >= 1)) return 0;
  return Math.min(1 + Math.floor(Math.log2(ms) * bucketsPerDoubling), lastBucket);
}

/** The lower bound of a bucket in milliseconds. */
function lowerBound(bucket: number): number {
  return bucket === 0 ? 0 : 2 ** ((bucket - 1) / bucketsPerDoubling);
}

/**
 * Estimates a quantile in milliseconds, rounded to a tenth: it is at most a fifth away from the exact one.
 *
 * @param counts the calls in each bucket
 * @returns null without calls
 */
export function estimateQuantile(counts: readonly number[], quantile: number): number | null {
  const total = counts.reduce((sum, count) => sum + count, 0);
  const rank = quantile * total;
  let below = 0;
  for (const [bucket, count] of counts.entries()) {
    if (count > 0 && below + count >= rank) {
      const [from, to] = [lowerBound(bucket), lowerBound(bucket + 1)];
      const part = (rank - below) / count;
      const ms = bucket === 0 ? part : from * (to / from) ** part;
      return Math.round(ms * 10) / 10;
    }
    below += count;
  }
  return null;
}
