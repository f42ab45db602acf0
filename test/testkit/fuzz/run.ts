import { connect } from 'node:net';
import type { GraphQLSchema } from 'graphql';
import type { HostileRequest } from './http.ts';
import { hostileRequest } from './requests.ts';
import type { Fixture } from './values.ts';

/** The requests to send, and their destination. */
export interface FuzzOptions {
  url: string;
  fixture: Fixture;
  schema: GraphQLSchema;
  seed: number;
  /** The indices of the first request and of the one after the last. */
  from: number;
  to: number;
}

/** A response that breaks a rule. */
export interface Violation {
  number: number;
  kind: string;
  what: string;
  answer: string;
}

/** The result. */
export interface FuzzReport {
  /** The number of responses by status; `none` counts missing ones. */
  statuses: Record<string, number>;
  /** The number of responses by error code. */
  codes: Record<string, number>;
  /** The number of responses without an error, by kind of request. */
  successes: Record<string, number>;
  violations: Violation[];
}

const concurrency = 8;
const patienceMs = 60_000;

/** Sends hostile requests concurrently and checks every response. */
export async function fuzz(options: FuzzOptions): Promise<FuzzReport> {
  const { fixture, schema, seed, to, url } = options;
  const report: FuzzReport = { statuses: {}, codes: {}, successes: {}, violations: [] };
  let next = options.from;
  const worker = async () => {
    for (let number = next++; number < to; number = next++) {
      const request = hostileRequest(seed, number, fixture, schema);
      const { kind } = request;
      const answer = await send(new URL(url), request);
      const status = answer === undefined ? 'too late' : (/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1] ?? 'none');
      count(report.statuses, status);
      if (status === '200' && !/"(code|errors)":/.test(answer ?? '')) count(report.successes, kind);
      for (const [, code] of (answer ?? '').matchAll(/"code":"([A-Z_]+)"/g)) count(report.codes, `${code}`);
      const what = answer === undefined ? 'no answer in time' : findLeak(answer, fixture, kind === 'proxy');
      if (what) report.violations.push({ number, kind, what, answer: (answer ?? '').slice(0, 2_000) });
    }
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  return report;
}

function count(counts: Record<string, number>, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1;
}

const forbidden: Readonly<Record<string, RegExp>> = {
  'a fault of ours': /"code":"INTERNAL_SERVER_ERROR"/,
  'a stack': /\n\s+at |node:internal|\.[tj]s:\d+|node_modules/,
  SQL: /\brelation "|violates|syntax error at|\bapp_connection\b|audit_head|api_key_|DriverException|\bpg_/,
  'a path': /\/(home|root|tmp|usr|var|work)\//,
};

/**
 * Returns the rule that a response breaks, or undefined.
 *
 * @param isProxied whether the status can be that of a host
 */
export function findLeak(answer: string, { planted }: Fixture, isProxied = false): string | undefined {
  const [, status = '', body = ''] = /^HTTP\/1\.1 (\d{3}).*?\r\n\r\n(.*)$/s.exec(answer) ?? [];
  if (status.startsWith('5') && !isProxied && !(status === '503' && /"code":"UPSTREAM_/.test(body)))
    return `status ${status}`;
  if (isIn(planted, answer)) return 'the planted token';
  // The page of GraphiQL includes its scripts.
  if (/^content-type: text\/html/im.test(answer)) return undefined;
  return Object.entries(forbidden).find(([, pattern]) => pattern.test(answer))?.[0];
}

/** Whether a text contains the token in plain text, reversed, or in hexadecimal, percent encoding or base64. */
export function isIn(token: string, haystack: string): boolean {
  const bytes = Buffer.from(token);
  // Base64 has three alignments; the search uses the characters of each that do not depend on the surrounding text.
  const aligned = [0, 1, 2].map((shift) =>
    Buffer.concat([Buffer.alloc(shift), bytes])
      .toString('base64')
      .slice(shift === 0 ? 0 : 4, -4),
  );
  const hex = bytes.toString('hex');
  const escaped = hex.replaceAll(/../g, '%$&');
  const backwards = [...token].reverse().join('');
  return [token, backwards, hex, hex.toUpperCase(), escaped, escaped.toUpperCase(), ...aligned].some((form) =>
    haystack.includes(form),
  );
}

/** Sends bytes and returns the response, up to its end or the start of an event stream; undefined on a timeout. */
function send(url: URL, { bytes, isWhole }: HostileRequest): Promise<string | undefined> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const socket = connect({ host: url.hostname, port: Number(url.port) }, () => {
      // Node's server drops the response when the client closes its sending side.
      if (isWhole) socket.write(bytes);
      else socket.end(bytes);
    });
    const done = (answer: string | undefined) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    const timer = setTimeout(() => done(undefined), patienceMs);
    const all = () => Buffer.concat(chunks).toString('latin1');
    socket.on('data', (chunk) => {
      chunks.push(chunk);
      // An event stream may be silent for long, and Yoga keeps its connection open after its end.
      // The page of GraphiQL has megabytes; the headers are in the first chunks.
      if (chunks.length <= 4 && /content-type: (text\/event-stream|multipart\/mixed)/i.test(all()))
        setTimeout(() => done(all()), 100);
    });
    socket.once('close', () => done(all()));
    socket.on('error', () => done(all()));
  });
}
