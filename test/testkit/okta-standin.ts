import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { ServiceApp } from './okta-service-apps.ts';
import type { Answer } from './okta-standin-answers.ts';

/** A request as it arrived. */
export interface JournalEntry {
  method: string;
  /** Path and query as in the request line. */
  url: string;
  /** Names and values in turn. */
  headers: string[];
  /** Base64. */
  body: string;
  /** The status of the answer; 0 without one. */
  status: number;
  /** The end of the window in which its rate limit counts it, in milliseconds since the epoch. */
  resetAt?: number | undefined;
}

/** A message to the process. */
export interface StandInMessage {
  /** The requests that each token may send to each bucket from now on. */
  limit?: number;
  /** The length of the windows of `limit`. Default: 60. */
  windowSeconds?: number;
  /** A token that is invalid from now on. */
  revoke?: string;
  isJournalWanted?: boolean;
  /** A service app that is created or replaced. */
  app?: ServiceApp;
  /** How far the clock is ahead from now on. */
  aheadMs?: number;
  /** Whether requests with a DPoP token need the newest nonce from now on. */
  requiresNonce?: boolean;
  /** Whether all access tokens end. */
  endsAccessTokens?: boolean;
  /** Whether there is a new nonce. */
  renewsNonce?: boolean;
  /** A service app that is deleted. */
  deletedApp?: string;
  /** A path: the response to the next request for it is held. With `null`, it is sent. */
  hold?: string | null;
  /** Whether the message is answered only when a response is held. */
  isHeldWanted?: boolean;
  /** The answer to the next request for a path. */
  replacement?: { path: string; answer: Answer };
}

/**
 * An Okta organisation in a process of its own, with 250 users, groups, applications and log events. It answers the paths of
 * Okta's API description, and `/api/v1/stand-in/bytes/<count>` and `/api/v1/stand-in/silence`.
 */
export interface OktaStandIn extends AsyncDisposable {
  origin: string;
  /** For the trusted hosts. */
  hostPort: string;
  /** Returns the requests since the last call. */
  takeJournal(): Promise<JournalEntry[]>;
  /** Starts new windows. */
  setLimit(limit: number, windowSeconds?: number): Promise<void>;
  revoke(token: string): Promise<void>;
  /** Creates or replaces a service app, which can then ask for access tokens. */
  setServiceApp(app: ServiceApp): Promise<void>;
  /** Deletes a service app. */
  deleteServiceApp(clientId: string): Promise<void>;
  /** Sets how far its clock is ahead of the clock of this machine. */
  setClockAhead(ms: number): Promise<void>;
  /** Ends all access tokens. */
  endAccessTokens(): Promise<void>;
  /** Sets whether requests with a DPoP token need the newest nonce. */
  setNonceRequired(isRequired: boolean): Promise<void>;
  /** Replaces the nonce; proofs with another are refused where one is required. */
  renewNonce(): Promise<void>;
  /**
   * Answers the next requests with a Bearer or DPoP token, for an access token, or for the revocation of an API token, to a path
   * in another way.
   */
  answerNext(path: string, ...answers: readonly Answer[]): Promise<void>;
  /** Holds the response to the next request for a path until it is released. The request has its effects at once. */
  holdNext(path: string): Promise<HeldResponse>;
}

/** A response that the stand-in holds. */
export interface HeldResponse {
  /** Resolves when the request has arrived. Until then, other calls of the stand-in wait. */
  arrived(): Promise<void>;
  release(): Promise<void>;
}

/** Starts the stand-in. Every token is valid until it is revoked. */
export async function startOktaStandIn(): Promise<OktaStandIn> {
  const child = fork(fileURLToPath(new URL('okta-standin-process.ts', import.meta.url)), { execArgv: [] });
  const [{ port }] = await once(child, 'message');
  const hostPort = `127.0.0.1:${port}`;
  let last: Promise<unknown> = Promise.resolve();
  /** Sends one message at a time, so that answers are in order. */
  const ask = (message: StandInMessage): Promise<JournalEntry[]> => {
    const answer = last.then(async () => {
      const answered = once(child, 'message');
      child.send(message);
      const [{ journal }] = await answered;
      return journal;
    });
    last = answer;
    return answer;
  };
  return {
    origin: `http://${hostPort}`,
    hostPort,
    takeJournal: () => ask({ isJournalWanted: true }),
    setLimit: async (limit, windowSeconds) =>
      void (await ask({ limit, ...(windowSeconds !== undefined && { windowSeconds }) })),
    revoke: async (token) => void (await ask({ revoke: token })),
    setServiceApp: async (app) => void (await ask({ app })),
    deleteServiceApp: async (clientId) => void (await ask({ deletedApp: clientId })),
    setClockAhead: async (ms) => void (await ask({ aheadMs: ms })),
    endAccessTokens: async () => void (await ask({ endsAccessTokens: true })),
    setNonceRequired: async (isRequired) => void (await ask({ requiresNonce: isRequired })),
    renewNonce: async () => void (await ask({ renewsNonce: true })),
    async answerNext(path, ...answers) {
      for (const answer of answers) await ask({ replacement: { path, answer } });
    },
    async holdNext(path) {
      await ask({ hold: path });
      return {
        arrived: async () => void (await ask({ isHeldWanted: true })),
        release: async () => void (await ask({ hold: null })),
      };
    },
    [Symbol.asyncDispose]: async () => {
      const ended = once(child, 'exit');
      child.kill();
      await ended;
    },
  };
}
