import { toTypeName } from '../client-validation.ts';
import { endpoint } from '../endpoint.ts';
import type { Connection } from '../operations.ts';
import type { AppOption } from '../use-options.ts';

/** The mutation that creates the connection, and its variables, with placeholders for secrets. */
export function toGraphQL(connection: Connection, option: AppOption): string {
  return `${mutation(option)}\n\n# Variables\n${JSON.stringify(variables(connection, option), null, 2)}`;
}

/** A curl command that creates the connection, with placeholders for secrets. */
export function toCurl(connection: Connection, option: AppOption): string {
  const body = { query: mutation(option).replace(/\s+/g, ' '), variables: variables(connection, option) };
  const quoted = JSON.stringify(body, null, 2).replaceAll("'", "'\\''");
  return [
    `curl ${endpoint} \\`,
    `  --header 'Authorization: Bearer <YOUR-API-KEY>' \\`,
    `  --header 'Content-Type: application/json' \\`,
    `  --data '${quoted}'`,
  ].join('\n');
}

function mutation(option: AppOption): string {
  const typeName = toTypeName(option);
  return [
    `mutation ($input: Create${typeName}ConnectionInput!) {`,
    `  create${typeName}Connection(input: $input) {`,
    '    appConnection { id name verification { status } }',
    '  }',
    '}',
  ].join('\n');
}

function variables({ name, description, projectId, method, credentials }: Connection, option: AppOption) {
  const fields = option.methods.find((option) => option.method === method)?.fields ?? [];
  const publicValues: Readonly<Record<string, string | null>> = { instanceUrl: credentials.instanceUrl };
  return {
    input: {
      name,
      ...(description && { description }),
      ...(projectId && { projectId }),
      method,
      credentials: Object.fromEntries(
        fields
          .filter(({ name, required }) => required || publicValues[name])
          .map(({ name, label }) => [name, publicValues[name] ?? placeholder(label)]),
      ),
    },
  };
}

/** `<YOUR-API-TOKEN>` */
function placeholder(label: string): string {
  return `<YOUR-${label.toUpperCase().replace(/\W+/g, '-')}>`;
}
