import { OutboundError, type OutboundReason } from './outbound-error.ts';

const untrusted = 'the certificate is not signed by an authority that this server trusts';
const closed = 'the connection was closed before the response was complete';
const longHeaders = 'the response headers are too large';
const noRoute = 'there is no route from this server to the host';
const timedOut = 'the connection timed out';

/** The reason and message for error codes of Node and undici. */
const errorsByCode: Readonly<Record<string, readonly [OutboundReason, string]>> = {
  ENOTFOUND: ['UNKNOWN_HOST', 'the host name does not exist'],
  EBADNAME: ['UNKNOWN_HOST', 'the host name does not exist'],
  ENODATA: ['UNKNOWN_HOST', 'the host name has no address'],
  ECONNREFUSED: ['REFUSED', 'the connection was refused'],
  ECONNRESET: ['RESET', closed],
  EPIPE: ['RESET', closed],
  UND_ERR_SOCKET: ['RESET', closed],
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: ['RESET', closed],
  ETIMEDOUT: ['TIMEOUT', timedOut],
  UND_ERR_CONNECT_TIMEOUT: ['TIMEOUT', timedOut],
  EHOSTUNREACH: ['UNREACHABLE', noRoute],
  ENETUNREACH: ['UNREACHABLE', noRoute],
  EADDRNOTAVAIL: ['UNREACHABLE', noRoute],
  ABORT_ERR: ['ABORTED', 'the request was aborted'],
  UND_ERR_ABORTED: ['ABORTED', 'the request was aborted'],
  UND_ERR_DESTROYED: ['ABORTED', 'the request was aborted'],
  UND_ERR_CLOSED: ['ABORTED', 'the request was aborted'],
  UND_ERR_HEADERS_OVERFLOW: ['TOO_LARGE', longHeaders],
  HPE_HEADER_OVERFLOW: ['TOO_LARGE', longHeaders],
  UND_ERR_INVALID_ARG: ['PROTOCOL', 'the request cannot be written as HTTP'],
  CERT_HAS_EXPIRED: ['TLS', 'the certificate has expired'],
  CERT_NOT_YET_VALID: ['TLS', 'the certificate is not valid yet'],
  CERT_REVOKED: ['TLS', 'the certificate was revoked'],
  DEPTH_ZERO_SELF_SIGNED_CERT: ['TLS', 'the certificate is self-signed'],
  SELF_SIGNED_CERT_IN_CHAIN: ['TLS', untrusted],
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: ['TLS', untrusted],
  UNABLE_TO_GET_ISSUER_CERT: ['TLS', untrusted],
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: ['TLS', untrusted],
  ERR_TLS_CERT_ALTNAME_INVALID: ['TLS', 'the certificate is for another host name'],
  ERR_SSL_WRONG_VERSION_NUMBER: ['TLS', 'the port does not speak TLS'],
  ERR_SSL_PACKET_LENGTH_TOO_LONG: ['TLS', 'the port does not speak TLS'],
};

/** Converts any error to an `OutboundError`, without its message, which could contain secrets. */
export function toOutboundError(error: unknown): OutboundError {
  if (error instanceof OutboundError) return error;
  // undici does not always set a code on this error.
  if (error instanceof Error && error.name === 'HTTPParserError')
    return new OutboundError('PROTOCOL', 'the response is not HTTP');
  const code = errorCode(error);
  if (code === undefined) return new OutboundError('UNREACHABLE', 'the host could not be reached');
  const [reason, clause] = errorsByCode[code] ?? classify(code);
  return new OutboundError(reason, clause, { code });
}

/** Converts an error of the resolver. Only some codes mean that the name does not exist. */
export function toLookupError(error: unknown): OutboundError {
  if (hasCode(error, ['ENOTFOUND', 'ENODATA', 'EBADNAME'])) return toOutboundError(error);
  return new OutboundError('UNREACHABLE', 'the host name could not be resolved', { code: errorCode(error) });
}

/** Converts an error of the connection to the proxy, which says nothing about the host behind it. */
export function toProxyError(error: unknown): OutboundError {
  const outboundError = toOutboundError(error);
  const { reason, message, code } = outboundError;
  if (reason === 'ABORTED' || reason === 'PROXY') return outboundError;
  return new OutboundError('PROXY', `the outbound proxy failed: ${message}`, { code });
}

function classify(code: string): readonly [OutboundReason, string] {
  if (/^(CERT_|UNABLE_TO_|ERROR_IN_|INVALID_|PATH_LENGTH_)/.test(code)) {
    return ['TLS', 'the certificate could not be verified'];
  }
  if (code.startsWith('HPE_')) return ['PROTOCOL', 'the response is not HTTP'];
  if (/^(ERR_SSL_|ERR_TLS_|EPROTO)/.test(code)) return ['TLS', 'the TLS handshake failed'];
  return ['UNREACHABLE', 'the host could not be reached'];
}

/** Whether a Node error has one of these codes. */
export function hasCode(error: unknown, codes: readonly string[]): boolean {
  return codes.includes(errorCode(error) ?? '');
}

/** The code of an error; of the first attempt if several addresses were tried. */
function errorCode(error: unknown): string | undefined {
  if (error instanceof AggregateError && error.errors.length > 0) return errorCode(error.errors[0]);
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
