import { AppError, OverloadedError } from '../common/errors.ts';
import type { OutboundError } from '../outbound/outbound-error.ts';

/** Maps the refusal of a host by the outbound client to a verification result; undefined for other failures. */
export function hostNotAllowedError({ reason, message }: OutboundError) {
  const variable = remedies[reason];
  if (!variable) return undefined;
  return {
    code: 'HOST_NOT_ALLOWED' as const,
    message: `This server does not connect to the instance URL: ${message}.`,
    remedy: `Use the address at which users sign in. ${variable}`,
  };
}

const remedies: Partial<Record<OutboundError['reason'], string>> = {
  HOST_NOT_ALLOWED:
    'For a host in a private network, the operator of this server has to add it to TRUSTED_INSTANCE_HOSTS.',
  HOST_NOT_LISTED:
    'If it is correct, the operator of this server has to add the host or its domain to ALLOWED_INSTANCE_HOSTS.',
};

/**
 * Maps a failure of this server itself to an error. It says nothing about the app, so no result may be stored.
 *
 * @param app the display name of the app
 * @returns undefined for other failures
 */
export function ownOutboundError(
  { reason, message, retryAt }: OutboundError,
  app: string,
): AppError | undefined {
  switch (reason) {
    case 'ABORTED':
      return new AppError(
        'UPSTREAM_UNREACHABLE',
        `This server is shutting down and did not wait for ${app}.`,
        { remedy: 'Send the request again in a moment; nothing was changed.' },
      );
    case 'BUSY':
      return new OverloadedError('UPSTREAM_UNREACHABLE', `No request was sent to ${app}: ${message}.`, {
        remedy: `Send the request again after ${retryAt?.toISOString()}; nothing was changed.`,
        ...(retryAt && { retryAt }),
      });
    default:
      return undefined;
  }
}
