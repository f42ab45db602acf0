import { GraphQLClient } from 'graphql-request';
import { expect, it, onTestFinished, vi } from 'vitest';
import { generateApiKey } from '../src/auth/api-keys.ts';
import { lastingData } from './testkit/database.ts';
import { startOtlpReceiver } from './testkit/otlp-receiver.ts';
import { spawnServer } from './testkit/process.ts';
import { serverCommand } from './testkit/template-environment.ts';

/** Prints the modules of OpenTelemetry that a process loads. */
const reportModules = `data:text/javascript,${encodeURIComponent(`
  import { registerHooks } from 'node:module';
  registerHooks({
    load(url, context, next) {
      const name = /node_modules\\/(@opentelemetry\\/[^/]+)/.exec(url)?.[1];
      if (name) console.log('loaded ' + name);
      return next(url, context);
    },
  });
`)}`;

/** Starts a server, sends it a request, stops it, and returns the modules of OpenTelemetry that it has loaded. */
async function run(
  environment: Readonly<Record<string, string>>,
): Promise<{ modules: Set<string | undefined>; outcome: object }> {
  await using stack = new AsyncDisposableStack();
  const apiKey = generateApiKey().reveal();
  const server = stack.use(
    spawnServer({
      ...(await lastingData(stack)).environment,
      NODE_OPTIONS: `--import ${reportModules}`,
      BOOTSTRAP_API_KEY: apiKey,
      OKTA_STAND_IN: 'on',
      ...environment,
    }),
  );
  const url = await server.ready();
  const client = new GraphQLClient(`${url}/graphql`, { headers: { authorization: `Bearer ${apiKey}` } });
  await client.request('query { viewer { scopes } }');
  server.kill('SIGTERM');
  const outcome = await server.ended();
  return {
    modules: new Set([...server.stdout().matchAll(/^loaded (\S+)$/gm)].map(([, name]) => name)),
    outcome,
  };
}

it('a server without OTEL_ variables loads no SDK of OpenTelemetry, and one with them sends all spans before it ends', async () => {
  // In a bundle, the modules of a package are not loaded one by one.
  vi.stubEnv(serverCommand, undefined);
  onTestFinished(() => void vi.unstubAllEnvs());
  const stopped = { code: 0, signal: null };
  const untraced = await run({ OTEL_SERVICE_NAME: 'unused' });
  // pg-boss loads the interface, which does nothing without an SDK.
  untraced.modules.delete('@opentelemetry/api');
  expect(untraced).toEqual({ modules: new Set(), outcome: stopped });
  await using receiver = await startOtlpReceiver();
  const traced = await run({
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
  });
  expect(traced.outcome).toEqual(stopped);
  // The hook sees modules that are loaded.
  expect(traced.modules).toContain('@opentelemetry/sdk-trace');
  expect(receiver.spans().map(({ name }) => name)).toContain('query viewer');
});
