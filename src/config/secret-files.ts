import { resolve } from 'node:path';
import { readConfiguredFile } from '../common/configured-file.ts';
import { StartupError } from '../common/errors.ts';

/** The secrets that the server reads once, at start. `<name>_FILE` names a file that holds the value instead. */
const fileVariables = [
  'DATABASE_URL',
  'DATABASE_DIRECT_URL',
  'BOOTSTRAP_API_KEY',
  'OUTBOUND_PROXY',
  'METRICS_TOKEN',
  'SMTP_URL',
] as const;

/** The variables of the environment by name. */
type Variables = Readonly<Record<string, string | undefined>>;

/** The environment with the values that are in files. */
export interface SecretFiles {
  variables: Variables;
  /** The absolute paths of the files, by the name of the variable whose value they hold. */
  files: ReadonlyMap<string, string>;
}

/**
 * Reads the files that `DATABASE_URL_FILE` and the like name.
 *
 * @throws StartupError with one line that names every such variable that is wrong, and repeats no content
 */
export function readSecretFiles(variables: Variables): SecretFiles {
  const files = new Map<string, string>();
  const values: Record<string, string> = {};
  const complaints: string[] = [];
  for (const name of fileVariables) {
    const path = variables[`${name}_FILE`];
    if (path === undefined) continue;
    try {
      values[name] = readSecretFile(name, resolve(path), variables[name] !== undefined);
      files.set(name, resolve(path));
    } catch (error) {
      if (!(error instanceof StartupError)) throw error;
      complaints.push(error.message);
    }
  }
  if (complaints.length > 0) throw new StartupError(complaints.join('; '));
  return { variables: { ...variables, ...values }, files };
}

function readSecretFile(name: string, file: string, isGivenDirectly: boolean): string {
  if (isGivenDirectly)
    throw new StartupError(`${name} and ${name}_FILE exclude each other; set only one of them`);
  const text = readConfiguredFile(`${name}_FILE`, file).toString().trim();
  if (text === '') throw new StartupError(`${name}_FILE ${file}: it is empty`);
  if (/[\r\n]/.test(text)) throw new StartupError(`${name}_FILE ${file}: its content must be one line`);
  return text;
}
