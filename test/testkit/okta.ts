import { once } from 'node:events';
import http, { type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { handleFakeOkta, writeFakeOktaResponse } from '../../src/apps/okta/fake-okta.ts';
import { oktaError, respondAsOkta } from '../../src/apps/okta/fake-okta-responses.ts';
import type { KeyPair } from './certificates.ts';
import { closeServer } from './close-server.ts';

/** The response of the fake Okta to a request. */
export type Behaviour = (request: IncomingMessage, response: ServerResponse) => void;

/** A request as it arrived. */
export interface ReceivedRequest {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  /** The server name (SNI) of the TLS handshake. */
  servername: string | undefined;
  /** Resolves when its connection is closed. */
  disconnected: Promise<void>;
}

/** A programmable fake Okta on 127.0.0.1. */
export interface TestOkta extends AsyncDisposable {
  /** `http://127.0.0.1:12345`, or https. */
  origin: string;
  /** `127.0.0.1:12345`, for the trusted hosts. */
  hostPort: string;
  port: number;
  /** Every request so far, the oldest first. */
  requests: readonly ReceivedRequest[];
  /** Those of them that verify a token. */
  verifications(): readonly ReceivedRequest[];
  /** The number of connections so far, also of those without a request. */
  connections(): number;
  /** Sets the response to further requests. */
  behave(behaviour: Behaviour): void;
  /** Replaces its certificate, and closes its connections. */
  certify(tls: KeyPair): void;
  close(): Promise<void>;
}

/** Starts the fake; without options it speaks plain HTTP and answers like the built-in fake Okta. */
export async function startOkta(options: { tls?: KeyPair; handler?: Behaviour } = {}): Promise<TestOkta> {
  const requests: ReceivedRequest[] = [];
  let behaviour = options.handler ?? handleFakeOkta;
  let connections = 0;
  const listener: Behaviour = (request, response) => {
    const { method = '', url: path = '', headers, socket } = request;
    const servername = socket instanceof TLSSocket ? socket.servername : undefined;
    requests.push({ method, path, headers, servername: servername || undefined, disconnected: gone(socket) });
    behaviour(request, response);
  };
  const server = options.tls
    ? https.createServer({ cert: options.tls.cert, key: options.tls.key }, listener)
    : http.createServer(listener);
  server.on('connection', () => {
    connections += 1;
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the test Okta has no port');
  const hostPort = `127.0.0.1:${address.port}`;

  const close = () => closeServer(server);

  return {
    origin: `${options.tls ? 'https' : 'http'}://${hostPort}`,
    hostPort,
    port: address.port,
    requests,
    verifications: () => requests.filter(({ path }) => path === tokenPath),
    connections: () => connections,
    behave(next) {
      behaviour = next;
    },
    certify({ cert, key }) {
      if (!(server instanceof https.Server)) throw new Error('the test Okta does not speak TLS');
      server.setSecureContext({ cert, key });
      server.closeAllConnections();
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

const endings = new WeakMap<Socket, Promise<void>>();

/** Resolves when the socket closes. It adds one listener per connection, not one per request. */
function gone(socket: Socket): Promise<void> {
  const known = endings.get(socket);
  if (known) return known;
  const ending = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  endings.set(socket, ending);
  return ending;
}

/** Where an Okta organisation describes itself, without a token. */
export const wellKnown = '/.well-known/okta-organization';

/** The path at which a token is verified. */
export const tokenPath = '/api/v1/users/me';

/** Behaves so wherever Okta needs a token; what needs none answers like Okta. */
export function withToken(behaviour: Behaviour): Behaviour {
  return (request, response) =>
    request.url === wellKnown ? handleFakeOkta(request, response) : behaviour(request, response);
}

/** Behaves so at some paths; the others answer like Okta. */
export function behavingAt(behaviours: Readonly<Record<string, Behaviour>>): Behaviour {
  return (request, response) => (behaviours[request.url ?? ''] ?? handleFakeOkta)(request, response);
}

/** 401, E0000011. */
export const tokenRejected = withToken((_, response) =>
  writeFakeOktaResponse(response, oktaError('E0000011')),
);

/** 403, E0000006. */
export const insufficientRole = withToken((_, response) =>
  writeFakeOktaResponse(response, oktaError('E0000006')),
);

/** 429, E0000047, with `X-Rate-Limit-Reset` in whole seconds. */
export function rateLimited(resetAt: Date): Behaviour {
  return withToken((_, response) => writeFakeOktaResponse(response, oktaError('E0000047', resetAt)));
}

/** A server error of Okta's own. */
export function failing(status = 503): Behaviour {
  return withToken((_, response) => writeFakeOktaResponse(response, { ...oktaError('E0000009'), status }));
}

/** An HTML page with any status. */
export function notJson(status = 200): Behaviour {
  return (_, response) => {
    response.writeHead(status, { 'content-type': 'text/html' }).end('<!doctype html><title>Welcome</title>');
  };
}

/** JSON, with any status, but not as Okta writes it. */
export function notOkta(status = 200): Behaviour {
  return (_, response) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end('{"hello":"world"}');
  };
}

/** 302. */
export function redirect(to: string): Behaviour {
  return (_, response) => {
    response.writeHead(302, { location: to }).end();
  };
}

/** Accepts the request and never responds. */
export const slowHeaders: Behaviour = () => undefined;

/** Sends the headers and then single bytes without end. */
export const slowBody: Behaviour = (_, response) => {
  response.writeHead(200, { 'content-type': 'application/json' }).write('{');
  const drip = setInterval(() => response.write(' '), 10);
  response.once('close', () => clearInterval(drip));
};

/** Sends an endless body as fast as the client reads it. */
export const endlessBody: Behaviour = (_, response) => {
  response.writeHead(200, { 'content-type': 'application/json' });
  const chunk = Buffer.alloc(64 * 1024, 'x');
  const pour = () => {
    while (!response.destroyed && response.write(chunk));
  };
  response.on('drain', pour);
  pour();
};

/** A valid response with the token, in some encoding, in every field that a client might store. */
export function echoing(encode: (token: string) => string = (token) => token): Behaviour {
  return withToken((request, response) => {
    const token = encode(request.headers.authorization?.replace(/^SSWS /, '') ?? '');
    const answer = good(request);
    writeFakeOktaResponse(response, {
      ...answer,
      headers: { ...answer.headers, 'x-okta-request-id': token },
      body: { ...answer.body, status: token, profile: { login: token } },
    });
  });
}

/** A valid response with the token as the id of the user. */
export const echoingAsId = withToken((request, response) => {
  const answer = good(request);
  writeFakeOktaResponse(response, {
    ...answer,
    body: { ...answer.body, id: request.headers.authorization?.replace(/^SSWS /, '') },
  });
});

/** A valid response with some members changed. */
export function answering(changes: object): Behaviour {
  return withToken((request, response) => {
    const answer = good(request);
    writeFakeOktaResponse(response, { ...answer, body: { ...answer.body, ...changes } });
  });
}

/** Closes the connection without a response. */
export const closesConnection: Behaviour = (request) => {
  request.socket.destroy();
};

/** Something that is not HTTP. */
export const garbage: Behaviour = (request) => {
  request.socket.end('SSH-2.0-OpenSSH_9.9\r\n');
};

function good(request: IncomingMessage) {
  const { url: path = '/', headers } = request;
  return respondAsOkta({ method: 'GET', path, authorization: headers.authorization });
}

/** A JSON response. */
export function json(body: unknown, status = 200): Behaviour {
  return (_, response) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  };
}
