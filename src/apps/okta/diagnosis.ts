import type { Diagnosis } from '../app.ts';

type Without<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;

/** A diagnosis, before it is known under which id Okta knows the request. */
export type Finding = Without<Diagnosis, 'upstreamRequestId'>;

/** Okta refused the token itself. */
export const tokenRejected: Finding = {
  status: 'REJECTED',
  code: 'CREDENTIALS_REJECTED',
  message: 'Okta says that the API token is invalid, expired or revoked.',
  remedy:
    'In the Okta Admin Console, go to Security > API > Tokens, create a new token and use that one. A token expires ' +
    'when it is not used for 30 days, and works no longer when its owner is deactivated. If the token is limited to ' +
    'certain networks, choose “Any IP” or add the address of this server.',
};

/** Okta knows the token, but its owner may not do what was asked. */
export const roleTooWeak: Finding = {
  status: 'REJECTED',
  code: 'INSUFFICIENT_PERMISSIONS',
  message: 'The API token works, but the administrator who created it may not do what a connection needs.',
  remedy:
    'In the Okta Admin Console, under Security > Administrators, give the owner of the token an admin role that may ' +
    'view users; or let an administrator who has one create the token under Security > API > Tokens. If the token is ' +
    'limited to certain networks, choose “Any IP” or add the address of this server.',
};

/** Okta asks us to wait, until `retryAt` if it says so. */
export function rateLimited(retryAt: Date | undefined): Finding {
  const until = retryAt?.toISOString();
  return {
    status: 'UNREACHABLE',
    code: 'UPSTREAM_RATE_LIMITED',
    message: `Okta asks us to slow down${until ? ` until ${until}` : ''}. The API token was not judged.`,
    remedy:
      `Try again ${until ? `after ${until}` : 'in a few minutes'}. If this happens often, the Okta Admin Console ` +
      'shows under Reports > Rate Limits what uses the limit up.',
    ...(retryAt && { retryAt }),
  };
}

/** Okta, or something before it, is out of order. `status` is 500 or more. */
export function failing(status: number): Finding {
  return {
    status: 'UNREACHABLE',
    code: 'UPSTREAM_UNREACHABLE',
    message: `Okta is not working right now: it answered with status ${status}. The API token was not judged.`,
    remedy: 'Try again in a few minutes. https://status.okta.com says whether Okta knows of an outage.',
  };
}

/** Nothing answered. `clause` says what happened. */
export function unreachable(clause: string, remedy: string): Finding {
  return {
    status: 'UNREACHABLE',
    code: 'UPSTREAM_UNREACHABLE',
    message: `Okta could not be reached: ${clause}. The API token was not judged.`,
    remedy,
  };
}

/** Something answered, but not Okta's API. `clause` says how that shows. */
export function notOkta(clause: string): Finding {
  return {
    status: 'REJECTED',
    code: 'NOT_AN_OKTA_ORG',
    message: `What answers at the instance URL is not the API of an Okta organisation: ${clause}.`,
    remedy:
      'Use the address that you see when you sign in to Okta, without “-admin” and without a path, such as ' +
      'https://example.okta.com.',
  };
}
