import {
  type Context,
  defaultTextMapGetter,
  ROOT_CONTEXT,
  type Span as SdkSpan,
  type Tracer as SdkTracer,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { defaultResource, resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import type { Logger } from '../common/log.ts';
import { serverId, version } from '../common/server-identity.ts';
import type { Span, SpanAttributes, SpanDescription, Tracer } from '../common/tracing.ts';
import { findBucket, otherPaths } from '../connections/rate-budget/find-bucket.ts';
import type { ProxySettings } from '../outbound/proxy.ts';
import { OtlpExporter } from './otlp-exporter.ts';
import { createSampler } from './sampler.ts';
import type { TracingSettings } from './tracing-settings.ts';

/** How long a server that stops waits for the receiver at most, in milliseconds. */
const flushMs = 2_000;

/** The traces of a server. */
export interface Tracing extends Tracer {
  /** Sends the spans that have ended, for up to two seconds. */
  close(): Promise<void>;
}

/**
 * Starts to trace, without any global state of OpenTelemetry: nothing else in this process is traced.
 *
 * @param pathTemplates the paths of requests to other hosts that spans name, as in `/api/v1/users/:user`
 */
export function startTracing(
  settings: TracingSettings,
  proxy: ProxySettings,
  { log, pathTemplates }: { log: Logger; pathTemplates: readonly string[] },
): Tracing {
  const exporter = new OtlpExporter(settings, proxy, log);
  const resource = { 'service.version': version, 'service.instance.id': serverId, ...settings.resource };
  const provider = new TracerProvider({
    resource: defaultResource().merge(resourceFromAttributes(resource)),
    sampler: createSampler(settings),
    spanProcessors: [new BatchSpanProcessor({ exporter, scheduledDelayMillis: 1_000 })],
  });
  const tracer = provider.getTracer('app-connections', version);
  const propagator = new W3CTraceContextPropagator();
  return {
    startRoot(description, headers) {
      const parent = headers ? propagator.extract(ROOT_CONTEXT, headers, defaultTextMapGetter) : ROOT_CONTEXT;
      return new TracedSpan({ tracer, pathTemplates, hasEnded: false }, parent, description);
    },
    async close() {
      const timeout = Promise.withResolvers<void>();
      const timer = setTimeout(timeout.resolve, flushMs);
      await Promise.race([provider.shutdown().catch(() => undefined), timeout.promise]);
      clearTimeout(timer);
      await exporter.shutdown();
    },
  };
}

/** What the spans of a trace share in this process. */
interface LocalTrace {
  tracer: SdkTracer;
  pathTemplates: readonly string[];
  /** Whether its first span has ended. */
  hasEnded: boolean;
}

const kinds = { server: SpanKind.SERVER, client: SpanKind.CLIENT, internal: SpanKind.INTERNAL };

/** A span of OpenTelemetry's SDK. */
class TracedSpan implements Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly #trace: LocalTrace;
  readonly #isRoot: boolean;
  readonly #span: SdkSpan;
  readonly #context: Context;

  constructor(
    local: LocalTrace,
    parent: Context,
    { name, kind, attributes, path }: SpanDescription,
    isRoot = true,
  ) {
    const found = path === undefined ? otherPaths : findBucket(local.pathTemplates, path);
    const template = found === otherPaths ? undefined : found;
    this.#span = local.tracer.startSpan(
      template ? `${name} ${template}` : name,
      { kind: kinds[kind], attributes: { ...attributes, ...(template && { 'url.template': template }) } },
      parent,
    );
    this.#trace = local;
    this.#isRoot = isRoot;
    this.#context = trace.setSpan(parent, this.#span);
    const { traceId, spanId } = this.#span.spanContext();
    this.traceId = traceId;
    this.spanId = spanId;
  }

  startChild(description: SpanDescription): Span | undefined {
    if (this.#trace.hasEnded) return undefined;
    return new TracedSpan(this.#trace, this.#context, description, false);
  }

  rename(name: string): void {
    this.#span.updateName(name);
  }

  set(attributes: SpanAttributes): void {
    this.#span.setAttributes(attributes);
  }

  end(failure?: string): void {
    if (this.#isRoot) this.#trace.hasEnded = true;
    if (failure !== undefined) {
      this.#span.setAttribute('error.type', failure);
      this.#span.setStatus({ code: SpanStatusCode.ERROR });
    }
    this.#span.end();
  }
}
