import type { OrganisationChangeNotifier } from './change-notifications.ts';

const maxChanged = 10_000;

/** Collects the organisations that change, for work that is done from time to time. At first, all count as changed. */
export class ChangedOrganisations {
  #changed: Set<string> | 'all' = 'all';
  readonly #stopWatching: () => void;

  constructor(changes: OrganisationChangeNotifier) {
    this.#stopWatching = changes.watch((orgId) => this.add(orgId === undefined ? 'all' : [orgId]));
  }

  /** Counts organisations as changed. */
  add(orgIds: readonly string[] | 'all'): void {
    if (orgIds === 'all' || this.#changed === 'all' || this.#changed.size > maxChanged) this.#changed = 'all';
    else for (const orgId of orgIds) this.#changed.add(orgId);
  }

  /** Returns the organisations that have changed since the last call, or `all` if any may have. */
  take(): readonly string[] | 'all' {
    const taken = this.#changed;
    this.#changed = new Set();
    return taken === 'all' ? taken : [...taken];
  }

  /** Collects no more. */
  stop(): void {
    this.#stopWatching();
  }
}
