import type { TokenRequestError } from '../../../oauth/oauth.ts';
import type { OutboundResponse } from '../../../outbound/buffered-response.ts';
import type { OutboundError } from '../../../outbound/outbound-error.ts';
import type { Credentials } from '../../credentials.ts';
import type { KeyRegistrationFailure, KeysToRegister } from '../../managed-keys.ts';
import { readErrorCode } from '../parse-response.ts';
import { diagnoseFailure } from '../verify.ts';
import { diagnoseTokenFailure } from './token-failure.ts';

const byUrl = 'choose “Use a URL to fetch keys dynamically” there, which needs neither a scope nor a role';
const again = 'The server tries again by itself.';

/** What a person does instead of the server. */
function byHand({ add }: KeysToRegister): string {
  const what = add ? 'add the public key' : 'delete the old key';
  return `You can also ${what} under General > Client Credentials of the app in the Okta Admin Console, or ${byUrl}.`;
}

/** What the server was to do, after “could not”. */
function describeTask({ add, remove = [] }: KeysToRegister): string {
  if (add) return `add its new key ${add.keyId}`;
  return `remove what it no longer uses: ${remove.join(', ')}`;
}

/** Says which keys an app of Okta may still have that a connection no longer uses, and which this server cannot remove. */
export function describeLeftKeys(
  { clientId = '' }: Credentials['public'],
  keyIds: readonly string[],
): KeyRegistrationFailure {
  return {
    code: 'INSUFFICIENT_PERMISSIONS',
    message: `The app in Okta with the client ID ${clientId} may still accept these keys, which this connection no longer uses: ${keyIds.join(', ')}.`,
    remedy:
      'In the Okta Admin Console, delete the keys under General > Client Credentials of the app once it has another key, or deactivate ' +
      'and delete the app if nothing uses it. If it fetches the keys from jwksUrl, save other keys in Okta there.',
  };
}

/** Interprets a response other than the expected one to a request to show, add or remove keys of a service app. */
export function diagnoseKeyRefusal(
  { status, body }: OutboundResponse,
  clientId: string,
  keys: KeysToRegister,
): KeyRegistrationFailure {
  const errorCode = readErrorCode(body);
  const reason = errorCode ? `status ${status}, ${errorCode}` : `status ${status}`;
  const message = `The service app could not ${describeTask(keys)}: Okta answered with ${reason}.`;
  if (status === 401 || status === 403) {
    return {
      code: 'INSUFFICIENT_PERMISSIONS',
      message: `${message} The app has the scope okta.apps.manage, and no admin role that lets it change its own keys.`,
      remedy:
        'In the Okta Admin Console, open the app under Applications > Applications, and assign it the role Super Administrator under ' +
        `“Admin roles”: only super administrators change keys that are kept in Okta. ${byHand(keys)}`,
    };
  }
  if (status === 404) {
    return {
      code: 'NOT_FOUND',
      message: `${message} It shows the app no app with the ID ${clientId}, which is its client ID.`,
      remedy:
        'Okta makes both IDs equal unless another client ID is chosen when the app is created; then the server cannot find the app. ' +
        `If they are equal, the admin role of the app has to include the app itself. ${byHand(keys)}`,
    };
  }
  if (status === 429 || status >= 500)
    return {
      code: status === 429 ? 'UPSTREAM_RATE_LIMITED' : 'UPSTREAM_UNREACHABLE',
      message,
      remedy: again,
    };
  if (!errorCode) {
    return {
      code: 'UPSTREAM_INVALID_RESPONSE',
      message: `${message} The response is not one of Okta’s API.`,
      remedy: `Check whether a proxy between this server and Okta answers in its place. ${again} ${byHand(keys)}`,
    };
  }
  return {
    code: 'CREDENTIALS_REJECTED',
    message,
    remedy: `Okta keeps at most 50 keys of an app: delete those that nobody uses. ${byHand(keys)}`,
  };
}

/** Interprets a request for keys that got no response. */
export function diagnoseKeyOutage(error: OutboundError, keys: KeysToRegister): KeyRegistrationFailure {
  const { code, remedy } = diagnoseFailure(error);
  return {
    code,
    message: `The service app could not ${describeTask(keys)}: ${error.message}.`,
    remedy: `${again} ${remedy}`,
  };
}

/** Interprets the refusal of an access token with which keys were to be changed. */
export function diagnoseKeyToken(error: TokenRequestError, keys: KeysToRegister): KeyRegistrationFailure {
  const { code, message, remedy } = diagnoseTokenFailure(error);
  return { code, message: `The service app could not ${describeTask(keys)}. ${message}`, remedy };
}
