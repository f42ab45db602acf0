import { AppError, OverloadedError } from '../common/errors.ts';
import type { OutboundError } from '../outbound/outbound-error.ts';

/** What is said of a host that the outbound client refuses, whichever app it is to be; undefined for other failures. */
export function hostNotAllowedError({ reason, message }: OutboundError) {
  const variable = variables[reason];
  if (!variable) return undefined;
  return {
    code: 'HOST_NOT_ALLOWED' as const,
    message: `This server does not connect to the instance URL: ${message}.`,
    remedy: `Use the address at which people sign in. ${variable}`,
  };
}

const variables: Partial<Record<OutboundError['reason'], string>> = {
  HOST_NOT_ALLOWED:
    'A host in a private network works only after whoever runs this server has added it to TRUSTED_INSTANCE_HOSTS.',
  HOST_NOT_LISTED:
    'If it is right, whoever runs this server has to add the host, or the domain it is in, to ALLOWED_INSTANCE_HOSTS.',
};

/**
 * A failure that is this server's own, so that nothing can be said of the app, and nothing may be kept; undefined for
 * other failures.
 *
 * @param app what people call it
 */
export function ownOutboundError(
  { reason, message, retryAt }: OutboundError,
  app: string,
): AppError | undefined {
  switch (reason) {
    case 'ABORTED':
      return new AppError(
        'UPSTREAM_UNREACHABLE',
        `This server is stopping and could not wait for ${app} any longer.`,
        { remedy: 'Send the same again in a moment; nothing was changed.' },
      );
    case 'BUSY':
      return new OverloadedError('UPSTREAM_UNREACHABLE', `${app} was not asked: ${message}.`, {
        remedy: `Send the same again after ${retryAt?.toISOString()}; nothing was changed.`,
        ...(retryAt && { retryAt }),
      });
    default:
      return undefined;
  }
}
