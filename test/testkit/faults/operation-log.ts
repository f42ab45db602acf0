/** What a connection may be like: a state per version. */
export interface ConnectionState {
  version: number;
  description: string;
  token: string;
}

/** What one client knows of one connection, and nobody else changes. */
export class LogEntry {
  readonly name: string;
  /** Known once an answer has said so. */
  id: string | undefined;
  /**
   * What it may be like. One, when the last answer has said so; more, when an answer never came and the change may have
   * been made or not. `undefined` stands for not being there.
   */
  possible: (ConnectionState | undefined)[] = [undefined];

  constructor(name: string) {
    this.name = name;
  }

  /** The state that the last answer has told of, if that was the last change. */
  get certain(): ConnectionState | undefined {
    return this.possible.length === 1 ? this.possible[0] : undefined;
  }
}

/** All that the clients know: what was acknowledged, and what they were left in doubt of. */
export class OperationLog {
  readonly entries: LogEntry[] = [];
  /** Changes by what came of them. */
  readonly counts = { acknowledged: 0, repeated: 0, inDoubt: 0 };
  /** Answers that no client should get, whatever is killed. */
  readonly wrongAnswers: string[] = [];
}
