import { currentTime } from '../../../common/clock.ts';
import type { TokenRequestError } from '../../../oauth/oauth.ts';
import { readRetryAfter } from '../../../outbound/response-times.ts';
import { describeClockDifference } from '../clock-difference.ts';
import * as diagnosis from '../diagnosis.ts';
import { readErrorCode } from '../parse-response.ts';
import { readRateLimitReset } from '../rate-limit-reset.ts';

const credentials = 'under General > Client Credentials of the app in the Okta Admin Console';
const publicKeys =
  'choose “Public key / Private key” and “Use a URL to fetch keys dynamically” with the address of the key of this ' +
  'connection, or add the public key itself';

/** Okta has no app with the client id. */
export const unknownClient: diagnosis.Finding = {
  status: 'REJECTED',
  code: 'CREDENTIALS_REJECTED',
  message: 'Okta knows no app with this client id.',
  remedy:
    'Copy the client id from General > Client Credentials of the app in the Okta Admin Console, and check that the app ' +
    'belongs to the organisation of the instance URL and is active.',
};

/** Okta has the app, and does not accept an assertion that is signed with the key. */
export function unknownKey(keyId: string): diagnosis.Finding {
  return {
    status: 'REJECTED',
    code: 'CREDENTIALS_REJECTED',
    message: `Okta knows the app, but does not accept the key ${keyId} of this connection.`,
    remedy:
      `In the Okta Admin Console, under General > Client Credentials of the app, ${publicKeys}. Check that the key is active ` +
      'there. If Okta fetches the keys, it can take some minutes until it has a new one.',
  };
}

/** Okta does not tell whether it lacks the app or its key. */
export function unknownClientOrKey(keyId?: string): diagnosis.Finding {
  const key = keyId === undefined ? 'the key' : `the key ${keyId}`;
  return {
    status: 'REJECTED',
    code: 'CREDENTIALS_REJECTED',
    message:
      'Okta does not accept the client: it knows no app with this client id, or the app does not have ' +
      `${key} of this connection.`,
    remedy: `Compare the client id ${credentials}. There, ${publicKeys}.`,
  };
}

/** @param uncertain further scopes, of which at least one is missing */
export function missingScopes(
  missing: readonly string[],
  uncertain: readonly string[] = [],
): diagnosis.Finding {
  const named = [
    ...(missing.length > 0 ? [`these scopes are not granted to the app: ${missing.join(', ')}`] : []),
    ...(uncertain.length > 0
      ? [`at least one of these scopes is not granted to the app: ${uncertain.join(', ')}`]
      : []),
  ];
  return {
    status: 'REJECTED',
    code: 'INSUFFICIENT_PERMISSIONS',
    message: `Okta accepts the key, but ${named.join(', and ')}.`,
    remedy:
      'In the Okta Admin Console, a super administrator has to grant them under “Okta API Scopes” of the app. Check the ' +
      'spelling too, or remove from the connection the scopes that it does not need.',
  };
}

/** What the other errors of Okta's token endpoint mean, and what to do. */
const findings: Readonly<Record<string, diagnosis.Finding>> = {
  invalid_client: unknownClientOrKey(),
  invalid_scope: missingScopes([], ['all of those asked for']),
  unauthorized_client: {
    status: 'REJECTED',
    code: 'INSUFFICIENT_PERMISSIONS',
    message: 'Okta does not let this app ask for access tokens by itself (unauthorized_client).',
    remedy:
      'Use an app of the kind “API Services”, or allow the grant type “Client Credentials” under General > General Settings ' +
      'of the app in the Okta Admin Console.',
  },
  unsupported_grant_type: {
    status: 'REJECTED',
    code: 'INSUFFICIENT_PERMISSIONS',
    message: 'Okta does not support client credentials for this app (unsupported_grant_type).',
    remedy: 'Create an app of the kind “API Services” in the Okta Admin Console, and use its client id.',
  },
  access_denied: {
    status: 'REJECTED',
    code: 'INSUFFICIENT_PERMISSIONS',
    message:
      'Okta denies the access token (access_denied), for example because of the network of this server.',
    remedy:
      'In the Okta Admin Console, add the address of this server to the network zones from which the app may be used, under ' +
      'General > General Settings of the app. Reports > System Log has the reason of the denial.',
  },
  invalid_request: {
    status: 'REJECTED',
    code: 'CREDENTIALS_REJECTED',
    message: 'Okta does not accept the form of the token request (invalid_request).',
    remedy: `Check ${credentials} that “Public key / Private key” is chosen, and not “Client secret”.`,
  },
  invalid_grant: {
    status: 'REJECTED',
    code: 'CREDENTIALS_REJECTED',
    message: 'Okta does not accept the client assertion (invalid_grant).',
    remedy: `Check the client id and the key ${credentials}.`,
  },
  invalid_dpop_proof: {
    status: 'REJECTED',
    code: 'CREDENTIALS_REJECTED',
    message: 'Okta refuses the proof of possession of this server (invalid_dpop_proof).',
    remedy:
      'Verify the connection again. If that does not help, compare the clock of this server with the time, and check ' +
      'whether a proxy in between changes requests.',
  },
  use_dpop_nonce: {
    status: 'REJECTED',
    code: 'CREDENTIALS_REJECTED',
    message:
      'Okta asks for a nonce in the proof of possession (use_dpop_nonce), and gives none that can be used, or refuses the one ' +
      'that it has given.',
    remedy:
      'Verify the connection again. If that does not help, check whether a proxy in between removes the header DPoP-Nonce.',
  },
};

/** Interprets the response of the token endpoint to a refused token request. */
export function diagnoseTokenFailure({ code, response }: TokenRequestError): diagnosis.Finding {
  const { status, headers, body } = response;
  const finding = code !== undefined && Object.hasOwn(findings, code) ? findings[code] : undefined;
  if (finding && status >= 400 && status < 500 && status !== 429) return finding;
  if (status === 429) return diagnosis.rateLimited(readRateLimitReset(headers, currentTime()), subject);
  if (status >= 500) return diagnosis.serverError(status, readRetryAfter(headers, currentTime()), subject);
  const errorCode = readErrorCode(body);
  if (code === undefined && errorCode === undefined) {
    return diagnosis.notOkta(
      `its token endpoint returned status ${status} without an access token or an error of OAuth`,
    );
  }
  return {
    status: 'REJECTED',
    code: 'CREDENTIALS_REJECTED',
    message: `Okta refused the token request (status ${status}, ${errorCode ?? 'an error that this server does not know'}).`,
    remedy: `Check the settings of the app ${credentials}. Reports > System Log has the reason of the refusal.`,
  };
}

/** The subject of messages about an outage. */
export const subject = 'The service app';

/** Adds a clock that is wrong, which is a cause of refused signatures. */
export function withClock(finding: diagnosis.Finding, clock: number | null): diagnosis.Finding {
  const warning = finding.code === 'CREDENTIALS_REJECTED' ? describeClockDifference(clock) : undefined;
  if (!warning) return finding;
  return {
    ...finding,
    message: `${finding.message} ${warning.message}`,
    remedy: `${warning.remedy} If that does not help: ${finding.remedy}`,
  };
}
