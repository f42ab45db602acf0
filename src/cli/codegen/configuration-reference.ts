import { typedKeys } from '../../common/typed-keys.ts';
import { environmentDocs } from '../../config/env-descriptions.ts';
import { environment } from '../../config/env-schema.ts';
import { variableGroups } from '../../config/variable-docs.ts';
import { generatedNotice, page, table } from './markdown.ts';

/** Generates docs/operations/configuration.md from the environment schema and its descriptions. */
export function configurationReference(): string {
  const groups = variableGroups.map((group) => {
    const rows = typedKeys(environmentDocs).flatMap((name) => {
      const docs = environmentDocs[name];
      if (docs.group !== group) return [];
      const example = docs.example ? ` Example: \`${docs.example}\`` : '';
      return [[`\`${name}\``, docs.description + example, docs.default ?? schemaDefault(name)]];
    });
    return `## ${group}\n\n${table(['Variable', 'Description', 'Default'], rows)}`;
  });
  return page(
    generatedNotice('src/config/env-schema.ts and src/config/env-descriptions.ts'),
    '# Configuration',
    'The server reads its configuration from environment variables at start. An empty variable counts as not set. If a ' +
      'variable is missing or invalid, the server does not start; one line on standard error names every such variable ' +
      'and repeats no value.',
    ...groups,
    production,
  );
}

/** Returns the constant default in the schema. */
function schemaDefault(name: keyof typeof environmentDocs): string {
  const { success, data } = environment.shape[name].safeParse(undefined);
  if (!success || (typeof data !== 'string' && typeof data !== 'number')) {
    throw new Error(`env-descriptions.ts: ${name} has no constant default; describe it in "default"`);
  }
  return `\`${data}\``;
}

const production = `## Production

With \`NODE_ENV=production\`, the server

- requires \`DATABASE_URL\`, and \`ENCRYPTION_KEYS\` or \`ENCRYPTION_KEYS_FILE\`;
- refuses root keys that are not random (few different bytes, a pattern, text) and the same root key under two ids;
- refuses a \`BOOTSTRAP_API_KEY\` that consists of a few characters or a pattern;
- refuses a \`DATA_DIR\` in which users other than its owner may write, and a file of a secret (\`ENCRYPTION_KEYS_FILE\`,
  \`TLS_KEY\`, \`DATABASE_URL_FILE\` and the like) that others may write or everybody may read. Use mode 0600 or 0640; in Kubernetes \`defaultMode: 0440\` and \`fsGroup\`;
- refuses an AWS endpoint without TLS, and \`NODE_TLS_REJECT_UNAUTHORIZED=0\`;
- refuses \`OKTA_STAND_IN=on\`, an \`OIDC_ISSUER\` without https, and http origins in \`CORS_ORIGINS\` except loopback;
- requires an API key or token for introspection and for \`/api/v1/openapi.json\`.

In development, the server logs a warning about weak keys and unsafe files instead. To replace a weak root key, stop the
servers, put a new key before it, and run \`npm run keys -- rotate --reseal\` ([key rotation](key-rotation.md)).

In development, the server answers only to its own names (\`localhost\`, \`127.0.0.1\` and \`HOST\`). This prevents DNS
rebinding, in which a web page makes a name of its own resolve to your machine.

A database without organisations gets a first organisation, \`6f03caa1-a5de-43ce-b127-95a145d3464c\`, with a first project,
\`7ffbb072-2575-495a-b5b0-127f88caef78\`.

The AWS SDK reads its own standard variables for KMS, and Node reads \`NODE_EXTRA_CA_CERTS\`.`;
