import type { AuthMethod } from '../../apps/app.ts';
import type { VerificationDetails, VerificationResult } from '../../apps/credentials.ts';
import type { AppConnection } from '../app-connection.entity.ts';
import { rejectionCodes } from '../check-interval.ts';

/** A day in milliseconds. */
export const dayMs = 86_400_000;

/** How many days before the end a warning is given; 0: once the time has passed. */
export const warningDays = [14, 7, 1, 0] as const;
/** How many days before the end the first warning is given. */
export const firstWarningDays = warningDays[0];

/** The columns of a connection about the end of its credentials. */
export type ExpiryColumns = Pick<AppConnection, 'expiresAt' | 'expiryReason' | 'expiryWarningAt'>;

/** The columns of credentials without a known end. */
export const noExpiry = { expiresAt: null, expiryReason: null, expiryWarningAt: null } as const;

/** What is known of credentials that work. */
export interface KnownUse {
  /** When the app has last accepted them. */
  usedAt: Date;
  account: AppConnection['account'];
  details: VerificationDetails | null | undefined;
}

/** The columns after a verification. What is only found out now and then, the age of a key, stays as it was. */
export function expiryAfterVerification(
  method: AuthMethod,
  result: VerificationResult,
  known: KnownUse,
  before: ExpiryColumns | undefined,
): ExpiryColumns {
  if (result.status === 'VERIFIED') return forecastExpiry(method, known, known.usedAt, before);
  // Rejected credentials have ended already.
  const hasEnded = rejectionCodes.includes(result.code);
  return before && !hasEnded ? pickExpiry(before) : noExpiry;
}

/**
 * Returns the columns of credentials that work. Each warning is given once: it is not repeated as long as the reason stays the
 * same and the end is no further away than the first warning.
 *
 * @param before the columns of the same credentials until now; absent for new credentials
 */
export function forecastExpiry(
  method: AuthMethod,
  { usedAt, account, details }: KnownUse,
  now: Date,
  before: ExpiryColumns | undefined,
): ExpiryColumns {
  if (!method.forecast) return before ? pickExpiry(before) : noExpiry;
  const { expiresAt, isOwnerInactive } = method.forecast({ usedAt, account, details });
  if (isOwnerInactive) {
    if (before?.expiryReason === 'OWNER_INACTIVE') return pickExpiry(before);
    return { expiresAt: null, expiryReason: 'OWNER_INACTIVE', expiryWarningAt: now };
  }
  const first = addDays(expiresAt, -firstWarningDays);
  const isSame = before?.expiryReason === 'UNUSED' && before.expiresAt && first <= now;
  const expiryWarningAt = isSame ? moveWarning(before, expiresAt) : first;
  return { expiresAt, expiryReason: 'UNUSED', expiryWarningAt };
}

/** Returns the time of the warning after the one that is given now; null after the last one. */
export function nextWarning(expiresAt: Date | null | undefined, now: Date): Date | null {
  if (!expiresAt) return null;
  const times = warningDays.map((days) => addDays(expiresAt, -days));
  return times.find((time) => time > now) ?? null;
}

/** The warning that is next stays as many days ahead of the end. */
function moveWarning({ expiresAt, expiryWarningAt }: ExpiryColumns, to: Date): Date | null {
  if (!expiresAt || !expiryWarningAt) return null;
  return new Date(to.getTime() - (expiresAt.getTime() - expiryWarningAt.getTime()));
}

/** Returns the columns of a connection about the end of its credentials. */
export function pickExpiry({ expiresAt, expiryReason, expiryWarningAt }: ExpiryColumns): ExpiryColumns {
  return {
    expiresAt: expiresAt ?? null,
    expiryReason: expiryReason ?? null,
    expiryWarningAt: expiryWarningAt ?? null,
  };
}

function addDays(time: Date, days: number): Date {
  return new Date(time.getTime() + days * dayMs);
}
