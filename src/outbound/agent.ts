import type { Agent } from 'undici';
import { type ConnectorSettings, createConnector } from './connector.ts';
import { loadUndici } from './undici.ts';

/** An agent of undici that is created for its first request, because undici takes a while to load. */
export function lazyAgent(settings: ConnectorSettings) {
  let agent: Agent | undefined;
  return {
    get: () => {
      agent ??= createAgent(settings);
      return agent;
    },
    destroy: async (reason: Error) => agent?.destroy(reason),
  };
}

function createAgent(settings: ConnectorSettings): Agent {
  return new (loadUndici().Agent)({
    allowH2: false,
    // The time limit of the request covers both.
    headersTimeout: 0,
    bodyTimeout: 0,
    maxHeaderSize: 16 * 1024,
    // The host can ask for longer, up to this limit.
    keepAliveMaxTimeout: 60_000,
    connect: createConnector(settings),
  });
}
