/** A possible state of a connection: a version and its contents. */
export interface ConnectionState {
  version: number;
  description: string;
  token: string;
}

/** What a client knows of a connection that only this client changes. */
export class LogEntry {
  readonly name: string;
  /** Known once a response has contained it. */
  id: string | undefined;
  /**
   * The possible states: one when the last response is known; several when a response was lost, so that the change may or
   * may not have been applied. `undefined` means that the connection does not exist.
   */
  possible: (ConnectionState | undefined)[] = [undefined];

  constructor(name: string) {
    this.name = name;
  }

  /** The state in the last response, if no change followed it. */
  get certain(): ConnectionState | undefined {
    return this.possible.length === 1 ? this.possible[0] : undefined;
  }
}

/** The operations of all clients: acknowledged ones, and those with an unknown result. */
export class OperationLog {
  readonly entries: LogEntry[] = [];
  /** The number of changes by result. */
  readonly counts = { acknowledged: 0, repeated: 0, inDoubt: 0 };
  /** Responses that must not occur even when processes are killed. */
  readonly wrongAnswers: string[] = [];
}
