import {
  AuthorizationResponseError,
  INVALID_RESPONSE,
  OperationProcessingError,
  ResponseBodyError,
} from 'oauth4webapi';
import type { ApiError } from '../api-error.ts';
import { unauthenticated } from './auth-errors.ts';

const contactAdministrator =
  'If that does not help, contact your administrator. Until then, you can sign in with an API key.';

export const insecureContext = unauthenticated(
  'Signing in with an identity provider requires https.',
  'Open this page over https, or use an API key.',
);

/** The callback belongs to no pending authorization of this tab. */
export const unexpectedCallback = unauthenticated(
  'The response from the identity provider does not belong to a sign-in that was started in this tab.',
  'Sign in again. If you did not start a sign-in, someone may have sent you a forged link.',
);

export const notAJwt = unauthenticated(
  'The token of your identity provider is not a JWT, so it is not for this server.',
  'Ask your administrator to register OIDC_AUDIENCE with the provider. Until then, you can sign in with an API key.',
);

/** Converts an error of `oauth4webapi`, or of the network. */
export function toProviderError(error: unknown): ApiError {
  if (error instanceof AuthorizationResponseError) {
    return error.error === 'access_denied'
      ? unauthenticated(
          withProviderError('Your identity provider denied access', error),
          'Sign in again and allow access, or ask your administrator for it.',
        )
      : unauthenticated(
          withProviderError('Your identity provider could not sign you in', error),
          `Sign in again. ${contactAdministrator}`,
        );
  }
  if (error instanceof ResponseBodyError) {
    return unauthenticated(
      withProviderError('Your identity provider issued no token', error),
      `Sign in again. ${contactAdministrator}`,
    );
  }
  if (!(error instanceof OperationProcessingError)) {
    return unauthenticated(
      'The identity provider cannot be reached from this page.',
      `Check your network, then sign in again. ${contactAdministrator} (The provider may be down, or its CORS settings may not allow ${location.origin}.)`,
    );
  }
  // Only errors of the callback URL have parameters.
  if (error.code === INVALID_RESPONSE && 'parameters' in Object(error.cause)) return unexpectedCallback;
  return unauthenticated(
    `The response from the identity provider is not valid (${error.code}).`,
    `Sign in again. ${contactAdministrator}`,
  );
}

function withProviderError(
  message: string,
  { error, error_description: why }: AuthorizationResponseError | ResponseBodyError,
): string {
  return why ? `${message}: ${why} (${error}).` : `${message} (${error}).`;
}
