import type { ErrorCode } from '../common/errors.ts';

/** How often connections are checked unless it is set, in hours. */
export const defaultCheckEvery = 24;

/** The most hours between two checks: a week. */
export const maxCheckEvery = 168;

/** How often a connection is checked, in hours; 0 if it is not. */
export function getCheckEvery({ checkEvery }: { checkEvery?: number | null | undefined }): number {
  return checkEvery ?? defaultCheckEvery;
}

/** The codes with which an app rejects credentials. Other failures are about the host, or pass. */
export const rejectionCodes: readonly ErrorCode[] = ['CREDENTIALS_REJECTED', 'INSUFFICIENT_PERMISSIONS'];

interface Verified {
  /** A `VerificationStatus`, of the entity, which imports this module. */
  verificationStatus: string;
  verificationCode?: ErrorCode | null | undefined;
}

/** Whether the app has rejected the credentials of a connection. */
export function isRejected({ verificationStatus: status, verificationCode: code }: Verified): boolean {
  return status === 'REJECTED' && (code == null || rejectionCodes.includes(code));
}

/** Whether checks of a connection are scheduled: not if they are off, and not for credentials that were rejected or never used. */
export function isChecked(connection: Verified & { checkEvery?: number | null | undefined }): boolean {
  const isUntried = connection.verificationStatus === 'PENDING';
  return getCheckEvery(connection) > 0 && !isUntried && !isRejected(connection);
}

/** `getCheckEvery` in SQL. */
export const checkEverySql = `coalesce(check_every, ${defaultCheckEvery})`;

/** `isChecked` in SQL. A rejected credential is not tried again, so that no account is locked out. */
export const isCheckedSql = `deleted_at is null and ${checkEverySql} > 0 and verification_status <> 'PENDING'
  and (verification_status <> 'REJECTED' or verification_code not in ('${rejectionCodes.join("', '")}'))`;

/** Describes the setting. */
export const checkEveryDescription =
  `How often this server checks whether the credentials still work, in hours: 1 to ${maxCheckEvery}; 0 for never. ` +
  `${defaultCheckEvery} by default. A check keeps an API token alive that expires when it is not used.`;
