/** Fields of errors that contain no values: of Node and its system calls, and of PostgreSQL. */
type ErrorField = 'name' | 'code' | 'constraint' | 'severity' | 'syscall';

/** Returns a field of whatever was thrown, such as the code `ENOENT` or `23505`; undefined if it is not a text. */
export function errorField(error: unknown, name: ErrorField): string | undefined {
  const value: unknown = Object(error)[name];
  return typeof value === 'string' ? value : undefined;
}
