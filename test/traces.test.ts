import { randomBytes } from 'node:crypto';
import { GraphQLClient } from 'graphql-request';
import { describe, expect, it, vi } from 'vitest';
import { Secret } from '../src/common/secret.ts';
import { readConfig } from '../src/config/read-config.ts';
import { startOkta } from './testkit/okta.ts';
import { createConnection, createMutation, listQuery, okta, presetMutation } from './testkit/operations.ts';
import { type OtlpReceiver, type ReceivedSpan, startOtlpReceiver } from './testkit/otlp-receiver.ts';
import { closedPort, until } from './testkit/process.ts';
import { foundIn } from './testkit/secret-scan.ts';
import { errorsOf, startTestServer } from './testkit/server.ts';
import { createEndpoint, startReceiver } from './testkit/webhook-receiver.ts';

vi.setConfig({ testTimeout: 180_000 });

const server = 2;
const client = 3;
const hex = (bytes: number) => randomBytes(bytes).toString('hex');

/** A server that sends its traces to the receiver, in JSON unless the variables say something else. */
async function startTraced(
  stack: AsyncDisposableStack,
  endpoint: string,
  variables: Record<string, string> = {},
  options: Parameters<typeof startTestServer>[0] = {},
) {
  const host = stack.use(await startOkta());
  const { tracing } = readConfig({
    OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    ...variables,
  });
  const started = await startTestServer({
    ...options,
    config: { ...options.config, tracing, trustedInstanceHosts: new Set([host.hostPort]) },
  });
  stack.defer(() => started.close());
  return { started, host, organisation: await started.newOrganisation() };
}

/** Returns the names of a span and of its ancestors in this process, up to the root. */
function listAncestry(receiver: OtlpReceiver, span: ReceivedSpan): string[] {
  const parent = receiver.spans().find(({ spanId }) => spanId === span.parentSpanId);
  return [span.name, ...(parent ? listAncestry(receiver, parent) : [])];
}

describe('traces', () => {
  it('show a request, its operation, its calls to Okta and its statements in the trace of the caller', async () => {
    await using stack = new AsyncDisposableStack();
    const receiver = stack.use(await startOtlpReceiver());
    const { started, host, organisation } = await startTraced(stack, receiver.url, {
      OTEL_SERVICE_NAME: 'connections-of-acme',
      OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=a%20test',
    });
    const [traceId, parentId] = [hex(16), hex(8)];
    const headers = {
      authorization: `Bearer ${organisation.apiKey}`,
      traceparent: `00-${traceId}-${parentId}-01`,
    };
    await new GraphQLClient(started.graphqlUrl, { headers }).request(
      createMutation,
      okta({}, { instanceUrl: host.origin }),
    );
    const request = await receiver.waitFor(
      'the request',
      (each) => each.kind === server && each.traceId === traceId,
    );
    expect(request).toMatchObject({
      name: 'POST /graphql',
      parentSpanId: parentId,
      hasFailed: false,
      attributes: {
        'http.request.method': 'POST',
        'http.route': '/graphql',
        'http.response.status_code': 200,
        'app_connections.outcome': 'OK',
      },
      resource: { 'service.name': 'connections-of-acme', 'deployment.environment.name': 'a test' },
    });
    const spans = receiver.spans().filter((each) => each.traceId === traceId);
    const operation = spans.find(({ name }) => name === 'mutation createOktaConnection');
    expect(operation).toMatchObject({
      parentSpanId: request.spanId,
      attributes: { 'graphql.operation.type': 'mutation', 'graphql.operation.name': 'Create' },
    });
    const call = spans.find(({ name }) => name === 'GET /api/v1/users/me');
    expect(call).toMatchObject({
      kind: client,
      attributes: {
        'http.request.method': 'GET',
        'url.template': '/api/v1/users/me',
        'server.address': '127.0.0.1',
        'server.port': host.port,
        'http.response.status_code': 200,
      },
    });
    expect(call && listAncestry(receiver, call)).toEqual([
      'GET /api/v1/users/me',
      'mutation createOktaConnection',
      'POST /graphql',
    ]);
    const statements = spans.filter((each) => each.attributes['db.system.name'] === 'postgresql');
    expect(statements.map(({ kind }) => kind)).toEqual(statements.map(() => client));
    const parents = statements.map((each) => listAncestry(receiver, each).slice(1).join(' < '));
    // The caller is authenticated before the operation.
    expect(new Set(parents)).toEqual(
      new Set(['POST /graphql', 'mutation createOktaConnection < POST /graphql']),
    );
    expect(statements.map(({ name }) => name).join()).toMatch(/^[A-Z,]+$/);
    const line = started
      .logs()
      .split('\n')
      .find((each) => each.includes('"operation":"Create"'));
    expect(JSON.parse(line ?? '')).toMatchObject({ traceId, spanId: request.spanId });
  });

  it('show routes of REST, requests through connections and failures', async () => {
    await using stack = new AsyncDisposableStack();
    const receiver = stack.use(await startOtlpReceiver());
    const { started, host, organisation } = await startTraced(stack, receiver.url);
    const { id } = await createConnection(organisation, {}, { instanceUrl: host.origin });
    await organisation.client.request(presetMutation, { id, preset: 'READ_ONLY' });
    const connectionsUrl = `${started.url}/api/v1/app-connections`;
    const headers = { authorization: `Bearer ${organisation.apiKey}` };
    const send = async (path: string, others: Record<string, string> = {}) =>
      (await fetch(`${connectionsUrl}${path}`, { headers: { ...headers, ...others } })).text();
    await send('');
    const trace = { traceparent: `00-${hex(16)}-${hex(8)}-01`, tracestate: 'a=b', baggage: 'user=alice' };
    await send(`/okta/${id}/proxy/api/v1/users/alice.smith?search=bob.jones`, trace);
    await started
      .clientFor('wrong')
      .request(listQuery)
      .catch(() => undefined);

    await receiver.waitFor('the route', ({ name }) => name === 'GET /api/v1/app-connections');
    const through = await receiver.waitFor('the request through the connection', ({ name }) =>
      name.endsWith('/proxy/*'),
    );
    const spans = receiver.spans();
    const underRoute = spans.filter(
      (each) => listAncestry(receiver, each).at(-1) === 'GET /api/v1/app-connections',
    );
    expect(underRoute.map(({ name }) => name)).toContain('listConnections');
    expect(
      underRoute.some(
        (each) =>
          each.attributes['db.system.name'] && listAncestry(receiver, each).includes('listConnections'),
      ),
    ).toBe(true);
    const call = spans.find(({ name }) => name === 'GET /api/v1/users/:user');
    expect(call && listAncestry(receiver, call)).toEqual([
      'GET /api/v1/users/:user',
      'proxy',
      'GET /api/v1/app-connections/:app/:id/proxy/*',
    ]);
    expect(through.parentSpanId).toBe(trace.traceparent.slice(36, 52));
    await receiver.waitFor(
      'the refused request',
      ({ attributes }) => attributes['app_connections.outcome'] === 'UNAUTHENTICATED',
    );
    // What names the traces of the caller does not reach Okta, and neither do spans of this server.
    for (const request of host.requests) {
      expect(request.headers).not.toHaveProperty('traceparent');
      expect(request.headers).not.toHaveProperty('tracestate');
      expect(request.headers).not.toHaveProperty('baggage');
    }
    expect(host.requests.some(({ path }) => path.startsWith('/api/v1/users/alice.smith'))).toBe(true);
    expect(Buffer.concat(receiver.requests.map(({ body }) => body)).toString()).not.toMatch(
      /alice|smith|bob|jones|search/,
    );
  });

  it.each(['http/json', 'http/protobuf'])('contain no secret and no input (%s)', async (protocol) => {
    await using stack = new AsyncDisposableStack();
    const receiver = stack.use(await startOtlpReceiver());
    const { started, organisation, host } = await startTraced(stack, receiver.url, {
      OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
      OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20for-the-receiver,x-team=identity',
    });
    const token = `00canary${hex(17)}`;
    const rejected = `revoked-${hex(17)}`;
    const input = okta(
      { name: 'planted-name', description: 'planted-description' },
      { instanceUrl: host.origin, apiToken: token },
    );
    const traceId = hex(16);
    await new GraphQLClient(started.graphqlUrl, {
      headers: {
        authorization: `Bearer ${organisation.apiKey}`,
        traceparent: `00-${traceId}-${hex(8)}-01`,
        'x-planted': 'planted-header',
        'user-agent': 'planted-agent',
      },
    }).request(createMutation, input);
    await errorsOf(
      organisation.client.request(
        createMutation,
        okta({ name: 'planted-failure' }, { instanceUrl: `${host.origin}/planted-path`, apiToken: rejected }),
      ),
    );
    const headers = { authorization: `Bearer ${organisation.apiKey}` };
    await (
      await fetch(`${started.url}/api/v1/app-connections/planted-segment?name=planted-query`, { headers })
    ).text();
    const traceBytes = protocol === 'http/json' ? Buffer.from(traceId) : Buffer.from(traceId, 'hex');
    await until(
      'the receiver has the trace',
      () => receiver.requests.some(({ body }) => body.includes(traceBytes)) || undefined,
    );
    await until(
      'the receiver has the last request',
      () =>
        receiver.requests.some(({ body }) => body.includes('HTTP_404') || body.includes('NOT_FOUND')) ||
        undefined,
    );
    const [first] = receiver.requests;
    expect(first).toMatchObject({
      path: '/v1/traces',
      headers: {
        'content-type': protocol === 'http/json' ? 'application/json' : 'application/x-protobuf',
        authorization: 'Bearer for-the-receiver',
        'x-team': 'identity',
      },
    });
    const exported = Buffer.concat(receiver.requests.map(({ body }) => body)).toString('latin1');
    // The search finds what is there.
    expect(foundIn(exported, ['mutation createOktaConnection', 'app_connections.outcome'])).toHaveLength(2);
    expect(foundIn(exported, [token, rejected, organisation.apiKey])).toEqual([]);
    expect(exported).not.toMatch(/planted|Test organisation/i);
    expect(exported).not.toContain(organisation.orgId);
    expect(started.logs()).not.toContain('for-the-receiver');
  });

  it('include one for each check and each delivery of webhooks', async () => {
    await using stack = new AsyncDisposableStack();
    const receiver = stack.use(await startOtlpReceiver());
    const webhooks = stack.use(await startReceiver());
    const host = stack.use(await startOkta());
    const { tracing } = readConfig({
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${receiver.url}/for/traces`,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    });
    const started = await startTestServer({
      webhookIntervalMs: 50,
      checkIntervalMs: 50,
      config: { tracing, trustedInstanceHosts: new Set([host.hostPort, webhooks.hostPort]) },
    });
    stack.defer(() => started.close());
    const organisation = await started.newOrganisation();
    await createEndpoint(organisation.client, { url: `${webhooks.url}/planted-path-of-a-receiver` });
    await createConnection(organisation, {}, { instanceUrl: host.origin });
    await started.asOwner().execute("update app_connection set next_check_at = now() - interval '1 minute'");
    const call = await receiver.waitFor('the check', (each) => {
      const path = listAncestry(receiver, each);
      return path[0] === 'GET /api/v1/users/me' && path.at(-1) === 'check-host';
    });
    const delivery = await receiver.waitFor('the delivery', ({ name }) => name === 'deliver-webhooks');
    const roots = receiver.spans().filter(({ parentSpanId }) => parentSpanId === '');
    expect(delivery.parentSpanId).toBe('');
    expect(roots.find(({ traceId }) => traceId === call.traceId)?.name).toBe('check-host');
    const post = await receiver.waitFor('the request to the receiver of webhooks', (each) => {
      const path = listAncestry(receiver, each);
      return path[0] === 'POST' && path.at(-1) === 'deliver-webhooks';
    });
    expect(post.attributes).not.toHaveProperty('url.template');
    expect(webhooks.received[0]?.headers).not.toHaveProperty('traceparent');
    expect(receiver.requests[0]?.path).toBe('/for/traces');
    expect(Buffer.concat(receiver.requests.map(({ body }) => body)).toString()).not.toContain('planted');
  });

  it.each([
    ['nothing listens', undefined],
    ['it refuses', (receiver: OtlpReceiver) => receiver.behave((response) => response.writeHead(503).end())],
    ['it hangs', (receiver: OtlpReceiver) => receiver.behave(() => undefined)],
  ])('change nothing for callers if %s, and log one warning', async (_, behave) => {
    await using stack = new AsyncDisposableStack();
    const receiver = stack.use(await startOtlpReceiver());
    behave?.(receiver);
    const url = behave ? receiver.url : `http://127.0.0.1:${await closedPort()}`;
    const { started, organisation } = await startTraced(stack, url, { OTEL_EXPORTER_OTLP_TIMEOUT: '300' });
    const warnings = () =>
      started
        .logs()
        .split('\n')
        .filter((line) => line.includes('traces could not be sent'));
    const read = () => organisation.client.request(listQuery);
    await until('the server has warned', async () => {
      expect(await read()).toMatchObject({ appConnections: { totalCount: 0 } });
      return warnings().length > 0 || undefined;
    });
    const attempts = receiver.requests.length;
    await until('the server has tried again', async () => {
      await read();
      return !behave || receiver.requests.length > attempts + 1 || undefined;
    });
    expect(warnings().map((line) => JSON.parse(line))).toEqual([
      expect.objectContaining({ level: 'warn', lostSpans: expect.any(Number), reason: expect.any(String) }),
    ]);
    // It is about no request in particular.
    expect(warnings().join()).not.toMatch(/requestId|traceId/);
  });

  it('are sent before a server has stopped', async () => {
    await using stack = new AsyncDisposableStack();
    const receiver = stack.use(await startOtlpReceiver());
    const { tracing } = readConfig({
      OTEL_TRACES_EXPORTER: 'otlp',
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
      OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http/json',
    });
    const started = await startTestServer({ config: { tracing } });
    const { client } = await started.newOrganisation();
    await client.request(listQuery);
    await started.close();
    expect(receiver.spans().map(({ name }) => name)).toContain('query appConnections');
  });

  it('follow the decision of the caller and OTEL_TRACES_SAMPLER', async () => {
    await using stack = new AsyncDisposableStack();
    const receiver = stack.use(await startOtlpReceiver());
    const { started, organisation } = await startTraced(stack, receiver.url, {
      OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
      OTEL_TRACES_SAMPLER_ARG: '0',
    });
    const [sampled, unsampled] = [hex(16), hex(16)];
    const read = (traceparent?: string) =>
      new GraphQLClient(started.graphqlUrl, {
        headers: { authorization: `Bearer ${organisation.apiKey}`, ...(traceparent && { traceparent }) },
      }).request(listQuery);
    await read();
    await read(`00-${unsampled}-${hex(8)}-00`);
    await read('not a traceparent');
    await read(`00-${sampled}-${hex(8)}-01`);
    await receiver.waitFor('the sampled trace', (each) => each.kind === server);
    expect(new Set(receiver.spans().map(({ traceId }) => traceId))).toEqual(new Set([sampled]));
    // The log has the caller's trace, whether it is recorded or not.
    expect(started.logs()).toContain(`"traceId":"${unsampled}"`);
  });

  it('are off unless the variables of OpenTelemetry ask for them, and errors name wrong variables', () => {
    const read = (variables: Record<string, string>) => readConfig(variables).tracing;
    const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318/' };
    expect(read({})).toBeUndefined();
    expect(read({ OTEL_SERVICE_NAME: 'a', OTEL_TRACES_SAMPLER: 'always_on' })).toBeUndefined();
    expect(read({ ...endpoint, OTEL_SDK_DISABLED: 'TRUE' })).toBeUndefined();
    expect(read({ ...endpoint, OTEL_TRACES_EXPORTER: 'none' })).toBeUndefined();
    expect(read({ OTEL_TRACES_EXPORTER: 'otlp' })?.url).toBe('http://localhost:4318/v1/traces');
    expect(read({ ...endpoint, OTEL_RESOURCE_ATTRIBUTES: 'service.name=b' })).toMatchObject({
      url: 'http://collector:4318/v1/traces',
      protocol: 'http/protobuf',
      resource: { 'service.name': 'b' },
    });
    const { headers } = read({ ...endpoint, OTEL_EXPORTER_OTLP_HEADERS: 'Authorization=Basic%20YTpi' }) ?? {};
    expect(headers?.authorization).toBeInstanceOf(Secret);
    expect(headers?.authorization?.reveal()).toBe('Basic YTpi');
    const wrong = {
      OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4318',
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://user:secret-secret@collector',
      OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
      OTEL_EXPORTER_OTLP_HEADERS: 'secret-secret',
      OTEL_EXPORTER_OTLP_TIMEOUT: '-1',
      OTEL_TRACES_EXPORTER: 'zipkin',
      OTEL_TRACES_SAMPLER: 'sometimes',
      OTEL_TRACES_SAMPLER_ARG: '2',
      OTEL_RESOURCE_ATTRIBUTES: 'secret-secret',
      OTEL_SDK_DISABLED: 'yes',
    };
    for (const [name, value] of Object.entries(wrong)) {
      const message = new RegExp(`^${name} must be [^\\n]+$`);
      expect(() => read({ [name]: value })).toThrow(message);
      expect(() => read({ [name]: value })).not.toThrow(/secret-secret|sometimes|zipkin/);
    }
  });
});
