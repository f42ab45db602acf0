import type { Secret } from '../common/secret.ts';
import type { HttpProxy } from '../outbound/proxy.ts';

/** Samplers by their names in OTEL_TRACES_SAMPLER. */
export const samplerNames = [
  'always_on',
  'always_off',
  'traceidratio',
  'parentbased_always_on',
  'parentbased_always_off',
  'parentbased_traceidratio',
] as const;

/** The settings of traces, from the `OTEL_*` variables. */
export interface TracingSettings {
  /** The address of the receiver for traces: `http://localhost:4318/v1/traces`. */
  url: string;
  protocol: 'http/protobuf' | 'http/json';
  /** Headers of requests to the receiver, which may have credentials. */
  headers: Readonly<Record<string, Secret>>;
  timeoutMs: number;
  /** Attributes of the resource, with `service.name`. */
  resource: Readonly<Record<string, string>>;
  sampler: (typeof samplerNames)[number];
  /** The share of traces for samplers with `traceidratio`, from 0 to 1. */
  ratio: number;
}

/** The operator's HTTP proxy, as in `Config`. */
export interface Proxying {
  outboundProxy: HttpProxy | undefined;
  outboundProxyResolves: boolean;
}
