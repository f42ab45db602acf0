import type { Secret } from '../common/secret.ts';

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

/** Builds the headers of a request to the receiver. */
export function buildOtlpHeaders({ protocol, headers }: TracingSettings): Record<string, string> {
  const own = Object.entries(headers).map(([name, value]) => [name, value.reveal()]);
  const mediaType = protocol === 'http/json' ? 'application/json' : 'application/x-protobuf';
  return { ...Object.fromEntries(own), 'content-type': mediaType };
}
