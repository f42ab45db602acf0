import { once } from 'node:events';
import net, { type Socket } from 'node:net';

/** A TCP relay in front of PostgreSQL that counts round trips. */
export interface PostgresRelay extends AsyncDisposable {
  /** The URL of the database through the relay. */
  url: string;
  /** The number of round trips so far, except on connections that listen for notifications. */
  roundTrips(): number;
}

/** The messages after which a client waits for `ReadyForQuery`: Query and Sync. */
const ends = new Set(['Q', 'S']);

/** What a relay does when it sees a statement. */
export interface RelayOptions {
  /** The relay closes a connection whose statement without parameters contains this text. */
  dropsOn?: string;
  /** Called with each statement that is not prepared yet, before PostgreSQL receives it. `drop` closes the connection. */
  onStatement?: (text: string, drop: () => void) => void;
}

/** Starts a relay to the PostgreSQL of a URL without TLS. */
export async function startPostgresRelay(
  databaseUrl: string,
  { dropsOn, onStatement }: RelayOptions = {},
): Promise<PostgresRelay> {
  const target = new URL(databaseUrl);
  const counts = new Map<Socket, number>();
  const sockets = new Set<Socket>();
  const server = net.createServer((client) => {
    const database = net.connect(Number(target.port || 5432), target.hostname);
    counts.set(client, 0);
    let isListening = false;
    const read = createMessageReader((type, body) => {
      if (dropsOn && type === 'Q' && body.includes(dropsOn)) client.destroy();
      if (type === 'Q' || type === 'P') onStatement?.(body.toString(), () => client.destroy());
      isListening ||= type === 'Q' && body.toString().startsWith('listen ');
      if (isListening) counts.delete(client);
      else if (ends.has(type)) counts.set(client, (counts.get(client) ?? 0) + 1);
    });
    client.on('data', read);
    client.pipe(database).pipe(client);
    for (const socket of [client, database]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.once('close', () => {
        client.destroy();
        database.destroy();
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the relay has no port');
  const url = new URL(databaseUrl);
  url.host = `127.0.0.1:${address.port}`;
  return {
    url: url.href,
    roundTrips: () => [...counts.values()].reduce((sum, count) => sum + count, 0),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Splits the bytes of a client into messages: https://www.postgresql.org/docs/current/protocol-message-formats.html */
function createMessageReader(onMessage: (type: string, body: Buffer) => void): (chunk: Buffer) => void {
  let buffered = Buffer.alloc(0);
  let isStarted = false;
  return (chunk) => {
    buffered = Buffer.concat([buffered, chunk]);
    for (;;) {
      // The first message has no type.
      const start = isStarted ? 1 : 0;
      if (buffered.length < start + 4) return;
      const end = start + buffered.readInt32BE(start);
      if (buffered.length < end) return;
      if (isStarted) onMessage(buffered.toString('latin1', 0, 1), buffered.subarray(5, end));
      isStarted = true;
      buffered = buffered.subarray(end);
    }
  };
}
