/** Why a request got no response. */
export type OutboundReason =
  /** A private, loopback or otherwise forbidden address, or plain http; nothing was sent. */
  | 'HOST_NOT_ALLOWED'
  /** The host is not in ALLOWED_INSTANCE_HOSTS; nothing was sent. */
  | 'HOST_NOT_LISTED'
  /** The bulkhead is full; nothing was sent. */
  | 'BUSY'
  /** The outbound proxy did not connect. */
  | 'PROXY'
  /** The host name does not exist. */
  | 'UNKNOWN_HOST'
  /** The port refused the connection. */
  | 'REFUSED'
  /** The connection closed before the response was complete. */
  | 'RESET'
  /** The certificate is invalid, or the handshake failed. */
  | 'TLS'
  /** The deadline passed. */
  | 'TIMEOUT'
  /** The reader of a streamed response read nothing until the deadline. */
  | 'UNREAD'
  /** The response exceeds a limit. */
  | 'TOO_LARGE'
  /** The body of the request exceeds a limit. */
  | 'REQUEST_TOO_LARGE'
  /** There is no route to the host, or its name could not be resolved. */
  | 'UNREACHABLE'
  /** The caller aborted, or the client was closed. */
  | 'ABORTED'
  /** The response is not HTTP, or the request cannot be written as HTTP. */
  | 'PROTOCOL';

/**
 * A request got no response.
 *
 * The message is one clause for users ("the certificate has expired"). There is no `cause`, because errors of undici can
 * contain parts of the request and the response.
 */
export class OutboundError extends Error {
  override readonly name = 'OutboundError';
  readonly reason: OutboundReason;
  /** The code of the underlying error, for logs: `ECONNREFUSED`. */
  readonly code: string | undefined;
  /** When to retry, if known. */
  readonly retryAt: Date | undefined;

  constructor(reason: OutboundReason, message: string, details: { code?: string; retryAt?: Date } = {}) {
    super(message);
    this.reason = reason;
    this.code = details.code;
    this.retryAt = details.retryAt;
  }

  /** Whether the only fault of the certificate is that its authority is not trusted. */
  get isAboutAuthority(): boolean {
    return /^(DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_)/.test(this.code ?? '');
  }
}
