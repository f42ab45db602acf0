import { type ExportResult, ExportResultCode } from '@opentelemetry/core';
import { JsonTraceSerializer, ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer';
import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace';
import { currentRequest, type Logger } from '../common/log.ts';
import { currentSpan, nameFailure } from '../common/tracing.ts';
import { createOutbound } from '../outbound/create-outbound.ts';
import { hostPort } from '../outbound/host-port.ts';
import type { OutboundClient } from '../outbound/outbound.ts';
import type { ProxySettings } from '../outbound/proxy.ts';
import { buildOtlpHeaders, type TracingSettings } from './tracing-settings.ts';

/** How often the log says at most that spans were lost, in milliseconds. */
const warningIntervalMs = 60_000;

const serializers = { 'http/json': JsonTraceSerializer, 'http/protobuf': ProtobufTraceSerializer };

/**
 * Sends spans over OTLP/HTTP, once, through the outbound client: as with everything that leaves the server, certificates are
 * verified, the time is limited and OUTBOUND_PROXY is used, which the exporters of OpenTelemetry know nothing of.
 */
export class OtlpExporter implements SpanExporter {
  readonly #settings: TracingSettings;
  readonly #url: URL;
  readonly #outbound: OutboundClient;
  readonly #log: Logger;
  #lost = 0;
  #warnedAt = Number.NEGATIVE_INFINITY;

  constructor(
    settings: TracingSettings,
    { outboundProxy, outboundProxyResolves }: ProxySettings,
    log: Logger,
  ) {
    this.#settings = settings;
    this.#url = new URL(settings.url);
    this.#log = log;
    this.#outbound = createOutbound({
      // The operator configures the receiver, which may have a private address.
      trustedHosts: new Set([hostPort(this.#url)]),
      proxy: outboundProxy,
      proxyResolves: outboundProxyResolves,
      timeoutMs: settings.timeoutMs,
    });
  }

  export(spans: ReadableSpan[], done: (result: ExportResult) => void): void {
    const send = () =>
      this.#send(spans).then(
        () => done({ code: ExportResultCode.SUCCESS }),
        (error: unknown) => {
          this.#lost += spans.length;
          this.#warn(nameFailure(error));
          done({ code: ExportResultCode.FAILED });
        },
      );
    // The context is that of the request whose span has filled the batch. Sending is not part of that request, and not traced.
    void currentRequest.exit(() => currentSpan.exit(send));
  }

  async shutdown(): Promise<void> {
    await this.#outbound.close();
  }

  async #send(spans: ReadableSpan[]): Promise<void> {
    const body = serializers[this.#settings.protocol].serializeRequest(spans);
    if (!body) return;
    const { status } = await this.#outbound.post(this.#url, {
      headers: buildOtlpHeaders(this.#settings),
      body,
      ignoresBody: true,
    });
    if (status < 200 || status > 299) throw new RefusedError(status);
  }

  #warn(reason: string): void {
    const now = performance.now();
    if (now - this.#warnedAt < warningIntervalMs) return;
    this.#warnedAt = now;
    this.#log.warn({ reason, lostSpans: this.#lost }, 'traces could not be sent');
    this.#lost = 0;
  }
}

/** The error when the receiver answers with a status other than 2xx. */
class RefusedError extends Error {
  readonly code: string;

  constructor(status: number) {
    super('the receiver refused spans');
    this.code = `HTTP_${status}`;
  }
}
