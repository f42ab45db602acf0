import type { AdministrationDeps } from '../../administration/deps.ts';
import { createApps } from '../../apps/index.ts';
import type { ConnectionDeps } from '../../connections/deps.ts';
import { createRestApi } from '../../rest/routes.ts';
import { describe, describeType, type JsonSchema, properties, schemaName } from './json-schema.ts';
import { generatedNotice, page, table } from './markdown.ts';

interface Parameter {
  in: string;
  name: string;
  required?: boolean;
  description?: string;
  schema?: JsonSchema;
}

interface Body {
  required?: boolean;
  content?: Readonly<Record<string, { schema: JsonSchema }>>;
}

interface Operation {
  summary: string;
  parameters?: readonly Parameter[];
  requestBody?: Body;
  responses: Readonly<Record<string, Body & { headers?: object }>>;
}

interface Document {
  paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  components: { schemas: Readonly<Record<string, JsonSchema>> };
}

/** Generates docs/api/rest.md from the OpenAPI document. */
export function restReference(): string {
  const { paths, components } = openApiDocument();
  const routes = Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]) => ({
      route: `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ':$1')}`,
      operation,
    })),
  );
  return page(
    generatedNotice('the OpenAPI document'),
    '# REST',
    introduction,
    '## Routes',
    table(
      ['Route', 'Description'],
      routes.map(({ route, operation }) => [`\`${route}\``, operation.summary]),
    ),
    '## Details',
    ...routes.map(({ route, operation }) => describeRoute(route, operation)),
    '## Schemas',
    ...Object.entries(components.schemas).map(([name, schema]) => describeSchema(name, schema)),
  );
}

/** Builds the OpenAPI document. Its routes are never called, so they need no dependencies except the apps. */
function openApiDocument(): Document {
  const apps = createApps({ trustedHosts: new Set() });
  const { getDocument } = createRestApi({ apps } as unknown as ConnectionDeps, {} as AdministrationDeps, '');
  return JSON.parse(JSON.stringify(getDocument()));
}

function describeRoute(
  route: string,
  { summary, parameters = [], requestBody, responses }: Operation,
): string {
  const rows = parameters.map((parameter) => [
    `\`${parameter.name}\``,
    parameter.in,
    `${describeType(parameter.schema ?? {})}${parameter.required ? ', required' : ''}`,
    parameter.description ?? parameter.schema?.description ?? '',
  ]);
  const body = bodySchema(requestBody);
  const optional = requestBody?.required ? '' : ' Optional.';
  const { 200: success, ...failures } = responses;
  const paged = success?.headers ? ' A `Link` header leads to the next page.' : '';
  return [
    `### ${route}`,
    summary,
    ...(rows.length > 0 ? [table(['Parameter', 'In', 'Type', 'Description'], rows)] : []),
    ...(body ? [`Request body: ${describeType(body)}.${optional}`] : []),
    `Response: ${describeResponse(bodySchema(success))}.${paged}`,
    `Errors: ${Object.keys(failures).join(', ')}.`,
  ].join('\n\n');
}

function bodySchema(body: Body | undefined): JsonSchema | undefined {
  return Object.values(body?.content ?? {})[0]?.schema;
}

function describeResponse(schema: JsonSchema = {}): string {
  const members = Object.entries(schema.properties ?? {});
  if (schema.properties === undefined || schemaName(schema)) return describeType(schema);
  return members.map(([name, member]) => `\`${name}\` (${describeType(member)})`).join(', ');
}

function describeSchema(name: string, schema: JsonSchema): string {
  const rows = properties(schema).map(({ path, isRequired, member }) => [
    `\`${path}\``,
    `${describeType(member)}${isRequired ? '' : ', optional'}`,
    describe(member),
  ]);
  const members = rows.length > 0 ? [table(['Member', 'Type', 'Description'], rows)] : [];
  return [`### ${name}`, ...(schema.description ? [schema.description] : []), ...members].join('\n\n');
}

const introduction = `REST has every operation of the GraphQL API except the subscription, with the same scopes, rules, limits and audit
events. Send \`Authorization: Bearer <API key>\` with every request ([authentication](authentication.md)).
\`GET /api/v1/openapi.json\` serves the OpenAPI document from which this page is generated.

\`\`\`sh
curl --request POST \\
  --url http://127.0.0.1:4000/api/v1/app-connections/okta \\
  --header "Authorization: Bearer $(cat .data/api-key)" \\
  --header 'Content-Type: application/json' \\
  --data '{
    "name": "my-okta-connection",
    "method": "api-token",
    "projectId": "7ffbb072-2575-495a-b5b0-127f88caef78",
    "credentials": {
      "instanceUrl": "https://example.okta.com",
      "apiToken": "<YOUR-API-TOKEN>"
    }
  }'
\`\`\`

- **Lists** take \`limit\` (1 to 100, default 20) and \`cursor\`. While there are more items, the response has the header
  \`Link: <…>; rel="next"\` ([pagination](pagination.md)).
- **Changes** of connections take the header \`Idempotency-Key\` ([idempotency](idempotency.md)).
- **Updates** leave members that are absent as they are; \`null\` clears a member.
- **Unknown** members and parameters are refused.
- **Errors** are \`application/problem+json\` ([errors](errors.md)).`;
