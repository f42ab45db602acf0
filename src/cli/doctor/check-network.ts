import { fetchProviderMetadata, maxProviderBytes } from '../../auth/oidc-discovery.ts';
import type { Config } from '../../config/config.ts';
import { createOutbound } from '../../outbound/create-outbound.ts';
import { hostPort } from '../../outbound/host-port.ts';
import type { OutboundClient } from '../../outbound/outbound.ts';
import { OutboundError } from '../../outbound/outbound-error.ts';
import type { ProxySettings } from '../../outbound/proxy.ts';
import { buildOtlpHeaders } from '../../telemetry/tracing-settings.ts';
import { createFindings, type Finding } from './finding.ts';

const timeoutMs = 5_000;

/** A host of Okta that every organisation in the cloud depends on, and that answers without credentials. */
const oktaUrl = new URL('https://login.okta.com/');

const createClient = (config: ProxySettings, trusted: URL[]): OutboundClient =>
  createOutbound({
    trustedHosts: new Set(trusted.map(hostPort)),
    proxy: config.outboundProxy,
    proxyResolves: config.outboundProxyResolves,
    maxBytes: maxProviderBytes,
    timeoutMs,
  });

/** Checks that the identity provider, if one is configured, answers with its metadata. */
export async function checkIdentityProvider(config: Config): Promise<Finding> {
  const { ok, problem, skipped } = createFindings('identity provider');
  if (!config.oidc) return skipped('OIDC_ISSUER is not set; only API keys are accepted.');
  const { issuer } = config.oidc;
  const client = createClient(config, [new URL(issuer)]);
  try {
    await fetchProviderMetadata(issuer, client);
    return ok(`${issuer} answers with its configuration.`);
  } catch (error) {
    if (!(error instanceof OutboundError)) throw error;
    return problem(
      `${issuer}: ${error.message}.`,
      'Check OIDC_ISSUER, and that this machine reaches it. Access tokens are refused until then.',
    );
  } finally {
    await client.close();
  }
}

/** Checks that the receiver of traces, if one is configured, accepts an empty request. */
export async function checkTraces(config: Config): Promise<Finding> {
  const { ok, warning, skipped } = createFindings('traces');
  const { tracing } = config;
  if (!tracing) return skipped('The variables of OpenTelemetry ask for no traces.');
  const url = new URL(tracing.url);
  const client = createClient(config, [url]);
  const remedy = 'Check OTEL_EXPORTER_OTLP_ENDPOINT and its headers. Traces are lost until then.';
  try {
    const { status } = await client.post(url, {
      headers: buildOtlpHeaders(tracing),
      body: tracing.protocol === 'http/json' ? '{"resourceSpans":[]}' : '',
      ignoresBody: true,
    });
    const isAccepted = status >= 200 && status <= 299;
    return isAccepted
      ? ok(`${url.host} accepts traces.`)
      : warning(`${url.host} answers with status ${status}.`, remedy);
  } catch (error) {
    if (!(error instanceof OutboundError)) throw error;
    return warning(`${url.host}: ${error.message}.`, remedy);
  } finally {
    await client.close();
  }
}

/** Checks that Okta's cloud answers, through the proxy if one is configured. Nothing is sent but the request. */
export async function checkOkta(config: Config): Promise<Finding> {
  const { ok, problem, warning } = createFindings('Okta');
  const client = createClient(config, []);
  try {
    const { status } = await client.get(oktaUrl, { headers: {} });
    return ok(`${oktaUrl.host} answers (status ${status}).`);
  } catch (error) {
    if (!(error instanceof OutboundError)) throw error;
    if (error.reason === 'TOO_LARGE') return ok(`${oktaUrl.host} answers.`);
    const message = `${oktaUrl.host}: ${error.message}.`;
    const remedy =
      'Allow outbound HTTPS to Okta, or set OUTBOUND_PROXY. Connections cannot be verified or used until then.';
    return config.production ? problem(message, remedy) : warning(message, remedy);
  } finally {
    await client.close();
  }
}
