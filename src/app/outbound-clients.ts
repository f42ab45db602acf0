import { maxProviderBytes } from '../auth/oidc-discovery.ts';
import type { Config } from '../config/config.ts';
import { createOutbound } from '../outbound/create-outbound.ts';
import { hostPort } from '../outbound/host-port.ts';
import type { OutboundClient, OutboundSettings } from '../outbound/outbound.ts';

/** The settings of outbound requests that tests replace. */
export type OutboundOverrides = Pick<OutboundSettings, 'lookup' | 'timeoutMs'>;

/** The clients of a server for requests to other hosts, one for each kind of receiver. */
export interface OutboundClients {
  apps: OutboundClient;
  /** The receivers of webhooks. */
  webhooks: OutboundClient;
  /** The identity provider, if one is configured. */
  provider: OutboundClient | undefined;
  /** Closes all connections; pending requests fail. */
  close(): Promise<unknown>;
}

/**
 * Creates the clients.
 *
 * @param fakeOktaUrl answers for `https://example.okta.com`; absent without the fake Okta
 */
export function createOutboundClients(
  config: Config,
  overrides: OutboundOverrides | undefined,
  fakeOktaUrl: string | undefined,
): OutboundClients {
  const proxy = { proxy: config.outboundProxy, proxyResolves: config.outboundProxyResolves };
  const settings = {
    trustedHosts: config.trustedInstanceHosts,
    allowedHosts: config.allowedInstanceHosts,
    ...proxy,
    ...overrides,
  };
  const webhooks = createOutbound(settings);
  const apps = createOutbound({
    ...settings,
    streamLimits: config.streamLimits,
    ...(fakeOktaUrl && { originOverrides: new Map([['https://example.okta.com', fakeOktaUrl]]) }),
  });
  // The operator configures the identity provider, which may have a private address.
  const provider =
    config.oidc &&
    createOutbound({
      trustedHosts: new Set([...config.trustedInstanceHosts, hostPort(new URL(config.oidc.issuer))]),
      ...proxy,
      timeoutMs: 5_000,
      maxBytes: maxProviderBytes,
    });
  return {
    apps,
    webhooks,
    provider,
    close: () => Promise.all([apps.close(), webhooks.close(), provider?.close()]),
  };
}
