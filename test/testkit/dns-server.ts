import { createSocket } from 'node:dgram';
import { once } from 'node:events';

/** A DNS server on 127.0.0.1 that answers for a few names and does not respond for others. */
export interface TestDns {
  /** `127.0.0.1:12345`. */
  server: string;
  /** Every query so far, the oldest first: `A acme.okta.test`. */
  queries: readonly string[];
  close(): Promise<void>;
}

/** The answer of the server for a name: addresses by type, or no response. */
export type Zone = (name: string) => { A?: string[]; AAAA?: string[] } | 'silent' | 'unknown' | 'broken';

const types: Readonly<Record<number, 'A' | 'AAAA'>> = { 1: 'A', 28: 'AAAA' };

/** Starts the server. It answers `A` and `AAAA` over UDP, and does not respond for a type that the zone lacks. */
export async function startDns(zone: Zone): Promise<TestDns> {
  const queries: string[] = [];
  const socket = createSocket('udp4');
  socket.on('message', (query, client) => {
    const { name, type, end } = parseQuestion(query);
    queries.push(`${type} ${name}`);
    const known = zone(name);
    if (known === 'silent') return;
    const addresses = typeof known === 'string' ? [] : known[type];
    if (!addresses) return;
    const code = known === 'unknown' ? 3 : known === 'broken' ? 2 : 0;
    socket.send(encodeAnswer(query.subarray(0, end), addresses, code), client.port, client.address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return {
    server: `127.0.0.1:${socket.address().port}`,
    queries,
    close: () => new Promise((resolve) => void socket.close(() => resolve())),
  };
}

/** RFC 1035, section 4.1.2. */
function parseQuestion(query: Buffer): { name: string; type: 'A' | 'AAAA'; end: number } {
  const labels: string[] = [];
  let at = 12;
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return {
    name: labels.join('.').toLowerCase(),
    type: types[query.readUInt16BE(at + 1)] ?? 'A',
    end: at + 5,
  };
}

function encodeAnswer(question: Buffer, addresses: readonly string[], code: number): Buffer {
  const head = Buffer.from(question);
  // A response, with recursion available; one question, and answers alone.
  head.writeUInt16BE(0x8180 | code, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(addresses.length, 6);
  head.writeUInt32BE(0, 8);
  return Buffer.concat([head, ...addresses.map(encodeRecord)]);
}

/** The name of the question (a pointer to byte 12), a minute to live, and the address. */
function encodeRecord(address: string): Buffer {
  const bytes = address.includes(':') ? bytesOfIpv6(address) : address.split('.').map(Number);
  const type = bytes.length === 16 ? 28 : 1;
  return Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, 60, 0, bytes.length, ...bytes]);
}

function bytesOfIpv6(address: string): number[] {
  const [start = '', end = ''] = address.split('::').map((half) => half);
  const words = (half: string) =>
    half
      .split(':')
      .filter(Boolean)
      .map((word) => Number.parseInt(word, 16));
  const zeros = Array.from({ length: 8 - words(start).length - words(end).length }, () => 0);
  return [...words(start), ...zeros, ...words(end)].flatMap((word) => [word >> 8, word & 255]);
}
