/** The right to send one request. */
export interface Permit {
  /** The window of the budget. Undefined if the request is not counted. */
  windowId: number | undefined;
  /** Whether the app may count it in the next window. */
  isCarried: boolean;
  /** Whether the limit of the app is not known yet: its response states it. */
  isProbe: boolean;
}

/** The right to send a request that no budget counts. */
export const notCounted: Permit = { windowId: undefined, isCarried: false, isProbe: false };

/** A caller's request for a permit. */
export interface PermitRequest {
  /** Unique in the organisation. */
  callerId: string;
  /** The part of the limit that may be spent, in percent. */
  share: number;
  /** Until when the caller waits, in milliseconds since the epoch. */
  deadline: number;
  /** Each of these ends the wait. */
  signals: readonly (AbortSignal | undefined)[];
}

/** A time without permits, as far as a server knows. */
export interface Pause {
  retryAt: number;
  /** Whether `retryAt` is only the time to ask again. */
  isProvisional: boolean;
  /** Whether the app has refused requests. */
  isBlocked: boolean;
  /** The limit of the app; null if it is not known. */
  limit: number | null;
}
