import type { VerificationResult } from '../credentials.ts';

/** A result that is not `VERIFIED`, without Okta's request id. */
export type Finding = Omit<Exclude<VerificationResult, { status: 'VERIFIED' }>, 'upstreamRequestId'>;

/** What messages about an outage are about. */
const apiToken = 'The API token';

/** Okta rejected the token. */
const tokenRejected = {
  status: 'REJECTED',
  code: 'CREDENTIALS_REJECTED',
  message: 'Okta says that the API token is invalid, expired or revoked.',
  remedy:
    'In the Okta Admin Console, go to Security > API > Tokens, create a new token and use that one. A token expires ' +
    'when it is not used for 30 days, and stops working when its owner is deactivated. If the token is limited to ' +
    'certain networks, choose “Any IP” or add the address of this server.',
} satisfies Finding;

/** Okta accepts the token, but its owner lacks the permission. */
const insufficientRole = {
  status: 'REJECTED',
  code: 'INSUFFICIENT_PERMISSIONS',
  message:
    'The API token is valid, but the administrator who created it lacks a permission that connections need.',
  remedy:
    'In the Okta Admin Console, under Security > Administrators, give the owner of the token an admin role that can ' +
    'view users, or have an administrator with such a role create the token under Security > API > Tokens. If the token is ' +
    'limited to certain networks, choose “Any IP” or add the address of this server.',
} satisfies Finding;

/** Okta recognised no credential in the request. */
const notSignedIn: Finding = {
  ...tokenRejected,
  message: 'Okta says that the request had no valid session (E0000005): it did not accept the API token.',
};

/** Maps Okta's error code (`E0000006`) of a 401 or 403 to a result. */
export function refused(status: number, errorCode: string): Finding {
  if (errorCode === 'E0000006') return insufficientRole;
  if (errorCode === 'E0000005') return notSignedIn;
  if (status === 401 || errorCode === 'E0000004' || errorCode === 'E0000011') return tokenRejected;
  return {
    ...insufficientRole,
    message: `Okta refused the request (status ${status}, ${errorCode}) without saying whether the API token is valid.`,
  };
}

/** Okta limits the rate, until `retryAt` if known. */
export function rateLimited(retryAt: Date | undefined, subject = apiToken): Finding {
  const until = retryAt?.toISOString();
  return {
    status: 'UNREACHABLE',
    code: 'UPSTREAM_RATE_LIMITED',
    message: `Okta limits the rate of requests${until ? ` until ${until}` : ''}. ${subject} was not verified.`,
    remedy:
      `Try again ${until ? `after ${until}` : 'in a few minutes'}. If this happens often, the Okta Admin Console ` +
      'shows under Reports > Rate Limits which requests use up the limit.',
    ...(retryAt && { retryAt }),
  };
}

/** Okta or a proxy before it fails with a status of 500 or more, until `retryAt` if known. */
export function serverError(status: number, retryAt: Date | undefined, subject = apiToken): Finding {
  const when = retryAt ? `after ${retryAt.toISOString()}` : 'in a few minutes';
  return {
    status: 'UNREACHABLE',
    code: 'UPSTREAM_UNREACHABLE',
    message: `Okta returned an error (status ${status}). ${subject} was not verified.`,
    remedy: `Try again ${when}. https://status.okta.com says whether Okta knows of an outage.`,
    ...(retryAt && { retryAt }),
  };
}

/** The host did not respond. `clause` has the reason. */
export function unreachable(clause: string, remedy: string, subject = apiToken): Finding {
  return {
    status: 'UNREACHABLE',
    code: 'UPSTREAM_UNREACHABLE',
    message: `Okta could not be reached: ${clause}. ${subject} was not verified.`,
    remedy,
  };
}

/** The host responded, but it is not Okta's API. `clause` has the evidence; `sentence` is added to the message. */
export function notOkta(clause: string, sentence?: string): Finding {
  const message = `The instance URL does not lead to the API of an Okta organisation: ${clause}.`;
  return {
    status: 'REJECTED',
    code: 'NOT_AN_OKTA_ORG',
    message: sentence ? `${message} ${sentence}` : message,
    remedy:
      'Use the address that you see when you sign in to Okta, without “-admin” and without a path, such as ' +
      'https://example.okta.com.',
  };
}
