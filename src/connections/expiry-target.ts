import { type ExpiryReason, expiryReasons } from './app-connection.entity.ts';

/** Builds the `targetName` of a warning of the end of credentials. */
export function toExpiryTarget(
  reason: ExpiryReason | null | undefined,
  expiresAt: Date | null | undefined,
): string {
  return [reason, expiresAt?.toISOString()].filter(Boolean).join(' ');
}

/** Parses it; undefined without a reason. `expiresAt`: in RFC 3339; null if the time is not known. */
export function parseExpiryTarget(
  targetName: string | null | undefined,
): { reason: ExpiryReason; expiresAt: string | null } | undefined {
  const [first, expiresAt = null] = targetName?.split(' ') ?? [];
  const reason = expiryReasons.find((each) => each === first);
  return reason && { reason, expiresAt };
}
