/** The result of one check. */
export interface Finding {
  /** What was checked: `database`, `keys` and so on. */
  check: string;
  /** `problem` makes the command fail; `skipped` if the check needs what is not configured, or what another check found wrong. */
  status: 'ok' | 'warning' | 'problem' | 'skipped';
  /** One sentence without a secret. */
  message: string;
  /** What the operator does about it. */
  remedy?: string;
  /** The organisation that it concerns. */
  orgId?: string;
}

/** Returns the functions that create the findings of one check. */
export function createFindings(check: string) {
  return {
    ok: (message: string): Finding => ({ check, status: 'ok', message }),
    warning: (message: string, remedy: string): Finding => ({ check, status: 'warning', message, remedy }),
    problem: (message: string, remedy: string): Finding => ({ check, status: 'problem', message, remedy }),
    skipped: (message: string): Finding => ({ check, status: 'skipped', message }),
  };
}

/** Formats a finding for the terminal. */
export function formatFinding({ check, status, message, remedy }: Finding): string {
  const line = `${status.padEnd(8)} ${check}: ${message}`;
  return remedy ? `${line}\n         ${remedy}` : line;
}
