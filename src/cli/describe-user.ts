import { hostname, userInfo } from 'node:os';

/** Returns the user and the machine of this process. */
export function describeUser(): string {
  try {
    return `${userInfo().username}@${hostname()}`;
  } catch {
    // A container may run as a user without a name.
    return `${process.getuid?.() ?? 'unknown'}@${hostname()}`;
  }
}
