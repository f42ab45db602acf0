/** Why an exchange with another host did not come to an answer. */
export type OutboundReason =
  /** A private, loopback or otherwise forbidden address, or plain http; nothing was sent. */
  | 'HOST_NOT_ALLOWED'
  /** The operator has said which hosts are allowed, and this is none of them; nothing was sent. */
  | 'HOST_NOT_LISTED'
  /** Too many exchanges are under way; nothing was sent. */
  | 'BUSY'
  /** The operator's own proxy made no connection. */
  | 'PROXY'
  /** The host name does not exist. */
  | 'UNKNOWN_HOST'
  /** Nobody listens on the port. */
  | 'REFUSED'
  /** The connection ended before the answer did. */
  | 'RESET'
  /** The certificate or the handshake. */
  | 'TLS'
  /** The deadline passed. */
  | 'TIMEOUT'
  /** The answer has more bytes than we take. */
  | 'TOO_LARGE'
  /** There is no way to the host, or its name could not be looked up. */
  | 'UNREACHABLE'
  /** The caller gave up, or the client was closed. */
  | 'ABORTED'
  /** What came back is not HTTP, or the request could not be written as HTTP. */
  | 'PROTOCOL';

/**
 * An exchange that did not come to an answer.
 *
 * Its message is one clause for people ("the certificate has expired"). It has no `cause` on purpose: undici's
 * errors can carry pieces of the request and of the answer.
 */
export class OutboundError extends Error {
  override readonly name = 'OutboundError';
  readonly reason: OutboundReason;
  /** The code of the error underneath, for logs: `ECONNREFUSED`. */
  readonly code: string | undefined;
  /** When trying again makes sense, if that is known. */
  readonly retryAt: Date | undefined;

  constructor(reason: OutboundReason, message: string, details: { code?: string; retryAt?: Date } = {}) {
    super(message);
    this.reason = reason;
    this.code = details.code;
    this.retryAt = details.retryAt;
  }

  /** Whether the certificate is good but for the authority that signed it, which is not trusted here. */
  get isAboutAuthority(): boolean {
    return /^(DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_)/.test(this.code ?? '');
  }
}
