import { codeLifetimeMinutes } from '../auth/sign-in-codes.ts';
import { commandLine } from '../common/command-name.ts';
import type { Secret } from '../common/secret.ts';
import type { Config } from '../config/config.ts';
import { isBuilt, notBuilt } from '../http/dashboard-files.ts';
import { firstProjectId } from '../identity/organisations.ts';

/** The administrator's API key after the start. */
export interface AdministratorKey {
  /** Absent if no valid key is known. */
  key?: Secret;
  /** Whether it was just created, so that it may be printed once. */
  isNew?: boolean;
  /** The file with the generated key. */
  file: string | undefined;
  /** The one-time sign-in link. Absent: people sign in with a key. */
  signInLink: string | undefined;
}

/** Formats the text that a development server prints at start: addresses, files and an example command. */
export function formatStartupBanner(config: Config, url: string, known: AdministratorKey): string {
  const lines = [
    'App Connections is ready.',
    '',
    ...(known.signInLink ? formatSignIn(known.signInLink) : []),
    `  Dashboard  ${isBuilt() ? `${url}/` : notBuilt}`,
    `  GraphiQL   ${config.graphiql ? `${url}/graphql${known.signInLink ? ' (in the same tab, you are already signed in)' : ''}` : 'off'}`,
    `  Data       ${config.databaseUrl ? 'PostgreSQL (DATABASE_URL)' : config.dataDir}`,
    `  API key    ${describeKey(config, known)}`,
  ];
  if (config.fakeOkta) {
    lines.push(
      '  Okta       https://example.okta.com is a fake Okta inside this server; every other host is real',
    );
  }
  if (known.key) {
    const hint = config.bootstrapApiKey ? ' (in a shell that has BOOTSTRAP_API_KEY)' : '';
    lines.push('', `Try it${hint}:`, '', curl(config, url, known));
  }
  return `${lines.join('\n')}\n`;
}

function formatSignIn(link: string): string[] {
  return [
    'Open this link to sign in:',
    '',
    `  ${link}`,
    '',
    `The link works once, within ${codeLifetimeMinutes} minutes. "${commandLine('admin', 'sign-in-link')}" prints another. You can also sign in with the API key.`,
    '',
  ];
}

function describeKey(config: Config, { key, isNew, file }: AdministratorKey): string {
  if (!key) {
    const where = config.bootstrapApiKey ? 'BOOTSTRAP_API_KEY' : file;
    return `created earlier; ${where} has no valid key ("${commandLine('admin', 'help')}" shows how to create another)`;
  }
  if (config.bootstrapApiKey) return 'in BOOTSTRAP_API_KEY';
  return isNew ? `${key.reveal()} (also in ${file})` : `in ${file}`;
}

/** Formats a command to paste. The shell inserts the key, so that it stays out of the history. */
function curl(config: Config, url: string, { file = '' }: AdministratorKey): string {
  const key = config.bootstrapApiKey ? '$BOOTSTRAP_API_KEY' : `$(cat ${shellQuote(file)})`;
  // A developer's certificate is probably self-signed.
  const trust = config.tls ? `--cacert ${shellQuote(config.tls.cert)} ` : '';
  // The shell generates the name, so that the command works repeatedly.
  const name = `my-okta-connection-'$(date +%s)'`;
  const body = {
    query:
      'mutation ($input: CreateOktaConnectionInput!) { createOktaConnection(input: $input) { appConnection { id name credentials { instanceUrl } verification { status } } } }',
    variables: {
      input: {
        name,
        projectId: firstProjectId,
        credentials: { instanceUrl: 'https://example.okta.com', apiToken: 'any-token-will-do' },
      },
    },
  };
  return [
    `curl ${trust}${url}/graphql \\`,
    `  -H "Authorization: Bearer ${key}" \\`,
    `  -H 'Content-Type: application/json' \\`,
    `  -d '${JSON.stringify(body)}'`,
  ].join('\n');
}

function shellQuote(path: string): string {
  return `'${path.replaceAll("'", "'\\''")}'`;
}
