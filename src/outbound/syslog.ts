import { connect, isIP, type Socket } from 'node:net';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls } from 'node:tls';
import { operatorSocketLookup } from './dns-lookup.ts';
import { toOutboundError } from './error-mapping.ts';
import { OutboundError } from './outbound-error.ts';
import { type Deadline, startDeadline } from './timeout.ts';

/** A receiver of syslog messages, which the operator configures. */
export interface SyslogReceiver {
  /** A host name or an address, without brackets. */
  host: string;
  port: number;
  /** Whether to use TLS (RFC 5425), with verification of the certificate; otherwise TCP (RFC 6587). */
  isTls: boolean;
}

/** A message for syslog. */
export interface SyslogMessage {
  at: Date;
  text: string;
}

/** How long a batch may take in all, in milliseconds. */
const timeoutMs = 10_000;
/**
 * How long a connection stays open after the last byte, in milliseconds. A receiver that has closed it before the messages arrived
 * is noticed within this time, unless the way there and back takes longer.
 */
const settleMs = 250;
/** The facility "log audit" with the severity "informational" (RFC 5424, section 6.2.1). */
const priority = 13 * 8 + 6;
/** RFC 5424, section 6.2.4, allows 1 to 255 printable ASCII characters; the names of machines may have others. */
const machine =
  hostname()
    .replace(/[^\x21-\x7e]/g, '-')
    .slice(0, 255) || '-';
const sender = `${machine} app-connections ${process.pid}`;

/** Formats a message (RFC 5424) with its length in front (RFC 6587, section 3.4.1; RFC 5425, section 4.3). */
function toFrame({ at, text }: SyslogMessage): string {
  const header = `<${priority}>1 ${at.toISOString()} ${sender} audit -`;
  const message = `${header} ${text}`;
  return `${Buffer.byteLength(message)} ${message}`;
}

/**
 * Sends messages over a connection of their own, in order. Syslog has no acknowledgement, and what the system has taken from this
 * process can still be lost. So the messages count as delivered when the receiver closes the connection after this side has ended it:
 * it has read everything before (docs/adr/0022-audit-stream.md).
 *
 * @throws OutboundError if it is not certain that the receiver has read all messages
 */
export async function sendSyslog(
  receiver: SyslogReceiver,
  messages: readonly SyslogMessage[],
  signal: AbortSignal,
): Promise<void> {
  using deadline = startDeadline(timeoutMs, [signal]);
  deadline.message = `the receiver did not accept the connection within ${timeoutMs / 1_000} s`;
  const socket = openSocket(receiver);
  try {
    await exchange(socket, receiver.isTls, messages, deadline);
  } catch (error) {
    const failure = toOutboundError(error);
    throw failure.reason === 'RESET' ? closedEarly() : failure;
  } finally {
    socket.destroy();
  }
}

function closedEarly(): OutboundError {
  return new OutboundError('RESET', 'the receiver closed the connection before it had read everything');
}

async function exchange(
  socket: Socket,
  isTls: boolean,
  messages: readonly SyslogMessage[],
  deadline: Deadline,
): Promise<void> {
  const connected = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  ended.promise.catch(() => undefined);
  const fail = (error: Error) => {
    connected.reject(error);
    ended.reject(error);
  };
  socket.once(isTls ? 'secureConnect' : 'connect', connected.resolve);
  // Whatever the receiver sends is discarded.
  socket
    .resume()
    .once('end', ended.resolve)
    .on('error', fail)
    .once('close', () => fail(closedEarly()));
  const tooEarly = ended.promise.then(() => {
    throw closedEarly();
  });
  tooEarly.catch(() => undefined);

  await deadline.within(connected.promise);
  deadline.message = `the receiver did not read the messages within ${timeoutMs / 1_000} s`;
  const written = new Promise<void>((resolve) => {
    socket.write(messages.map(toFrame).join(''), () => resolve());
  });
  await deadline.within(Promise.race([written, tooEarly]));
  await deadline.within(Promise.race([sleep(settleMs), tooEarly]));
  deadline.message = `the receiver did not close the connection within ${timeoutMs / 1_000} s after its end`;
  socket.end();
  await deadline.within(ended.promise);
}

function openSocket({ host, port, isTls }: SyslogReceiver): Socket {
  const target = { host, port, lookup: operatorSocketLookup };
  if (!isTls) return connect(target);
  return connectTls({
    ...target,
    ...(isIP(host) === 0 && { servername: host }),
    // Explicit, so that NODE_TLS_REJECT_UNAUTHORIZED has no effect.
    rejectUnauthorized: true,
  });
}
