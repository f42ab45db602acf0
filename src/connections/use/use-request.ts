import type { Readable } from 'node:stream';
import type { Caller } from '../../identity/caller.ts';
import type { StreamedBody } from '../../outbound/streamed-body.ts';
import type { TransferredBytes } from '../../outbound/streamed-response.ts';
import type { OpenedConnection } from './opened-connections.ts';
import type { PermissionWatch } from './permission-watch.ts';
import type { Header } from './response-headers.ts';
import type { SecretMask } from './secret-mask.ts';

/** A request to an app, as its caller sent it. */
export interface UseRequest {
  method: string;
  /** Without the query. */
  path: string;
  /** With its question mark; empty without a query. */
  query: string;
  /** Names and values in turn. */
  headers: readonly string[];
  body?: Readable | undefined;
  /** How long the caller waits if the rate budget of the connection is spent, in seconds. Default: not at all. */
  waitSeconds?: number | undefined;
  /** What the program calls itself, for the usage of the connection. */
  label?: string | undefined;
  signal?: AbortSignal | undefined;
  /** Authenticates the credential of the caller again; throws if it is no longer valid. */
  authenticateAgain: () => Promise<Caller>;
}

/** The response of an app, without what is not for the caller. */
export interface UseResponse {
  /** Returns where the request was sent: references in headers can be relative to it. */
  getUrl(): URL;
  status: number;
  headers: readonly Header[];
  /** Fails with an `OutboundError`. It has to be read to its end or destroyed. */
  body: StreamedBody;
  transferred: Readonly<TransferredBytes>;
  opened: OpenedConnection;
  /** Removes secrets from what is decoded of the body. */
  mask: SecretMask;
  /** Aborts while the body is read if the request is no longer allowed. */
  watch: PermissionWatch;
}
