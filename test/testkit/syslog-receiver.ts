import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { AuditStreamTarget } from '../../src/audit/stream-destination.ts';
import type { KeyPair } from './certificates.ts';
import { until } from './process.ts';

/** An event in a stream. */
export interface StreamedEvent {
  orgId: string;
  seq: number;
  action: string;
  connectionName: string | null;
  hash: string;
}

/** A receiver of syslog with octet counting. */
export interface SyslogReceiver extends AsyncDisposable {
  target: AuditStreamTarget;
  /** The target as in AUDIT_STREAM. */
  url: string;
  /** The messages that were received, without their lengths. */
  messages: string[];
  /** The events in them. */
  events(): StreamedEvent[];
  /** Waits for events of an organisation, and returns the numbers of all that it has received, in their order. */
  waitFor(orgId: string, seq: number): Promise<number[]>;
  /** The connections so far. */
  connections(): number;
  /** Sets what it does with a new connection, instead of reading it. */
  behave(handle: ((socket: Socket) => void) | undefined): void;
  /** Lets it close a connection with more messages than these. */
  limit(messagesOfConnection: number): void;
}

/**
 * Starts a receiver on 127.0.0.1, over TLS with a certificate, otherwise over TCP.
 *
 * @param port a free one if it is 0
 */
export async function startSyslogReceiver(certificate?: KeyPair, port = 0): Promise<SyslogReceiver> {
  const messages: string[] = [];
  const sockets = new Set<Socket>();
  let connections = 0;
  let behaviour: ((socket: Socket) => void) | undefined;
  let maxMessages = Number.POSITIVE_INFINITY;
  const read = (socket: Socket) => {
    let rest = Buffer.alloc(0);
    let count = 0;
    socket.on('data', (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk]);
      for (let frame = takeFrame(rest); frame; frame = takeFrame(rest)) {
        count += 1;
        if (count > maxMessages) return void socket.destroy();
        messages.push(frame.message);
        rest = frame.rest;
      }
    });
  };
  const accept = (socket: Socket) => {
    connections += 1;
    sockets.add(socket.on('error', () => undefined).once('close', () => sockets.delete(socket)));
    (behaviour ?? read)(socket);
  };
  const server: Server = certificate ? createTlsServer(certificate, accept) : createServer(accept);
  server.on('tlsClientError', () => undefined);
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address() as AddressInfo;
  const events = () => messages.map((message) => JSON.parse(message.slice(message.indexOf('{'))));
  const seqsOf = (orgId: string) => events().flatMap((event) => (event.orgId === orgId ? [event.seq] : []));
  return {
    target: { kind: 'syslog', host: '127.0.0.1', port: address.port, isTls: certificate !== undefined },
    url: `syslog+${certificate ? 'tls' : 'tcp'}://127.0.0.1:${address.port}`,
    messages,
    events,
    waitFor: (orgId, seq) =>
      until(`the receiver has event ${seq}`, () => {
        const seqs = seqsOf(orgId);
        return seqs.includes(seq) ? seqs : undefined;
      }),
    connections: () => connections,
    behave: (handle) => {
      behaviour = handle;
    },
    limit: (messagesOfConnection) => {
      maxMessages = messagesOfConnection;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Takes the first message of `length SP message` (RFC 6587, section 3.4.1); undefined if it is not complete. */
function takeFrame(bytes: Buffer): { message: string; rest: Buffer<ArrayBuffer> } | undefined {
  const [prefix = '', length] = /^(\d+) /.exec(bytes.subarray(0, 12).toString('latin1')) ?? [];
  const end = prefix.length + Number(length);
  if (length === undefined || bytes.length < end) return undefined;
  return { message: bytes.subarray(prefix.length, end).toString(), rest: Buffer.from(bytes.subarray(end)) };
}
