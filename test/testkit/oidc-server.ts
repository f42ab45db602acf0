import { afterAll, beforeAll } from 'vitest';
import { startProvider, type TestProvider } from './oidc.ts';
import { startTestServer, type TestOrganisation, type TestServer } from './server.ts';

/** Starts an identity provider, a server that accepts its tokens, and an organisation for the tests of a file. */
export function useServerWithOidc() {
  let provider: TestProvider;
  let server: TestServer;
  let organisation: TestOrganisation;
  beforeAll(async () => {
    provider = await startProvider();
    server = await startTestServer({ config: provider.settings() });
    organisation = await server.newOrganisation();
  });
  afterAll(async () => {
    await server.close();
    await provider.stop();
  });
  return {
    get provider() {
      return provider;
    },
    get server() {
      return server;
    },
    get organisation() {
      return organisation;
    },
  };
}
