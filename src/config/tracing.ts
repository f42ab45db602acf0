import { z } from 'zod';
import { Secret } from '../common/secret.ts';
import { samplerNames, type TracingSettings } from '../telemetry/tracing-settings.ts';
import { positiveInteger } from './env-types.ts';

const defaultEndpoint = 'http://localhost:4318';

const endpoint = z
  .url({ protocol: /^https?$/, error: 'must be an http:// or https:// URL, such as http://localhost:4318' })
  .refine((url) => !/[@#]/.test(url), {
    error: 'must be a URL without a user and a fragment; give credentials in OTEL_EXPORTER_OTLP_HEADERS',
  });
const protocol = z.enum(['http/protobuf', 'http/json'], {
  error: 'must be http/protobuf or http/json; grpc is not supported',
});
const headerName = /^[\w!#$%&'*+.^`|~-]+$/;
const headers = z
  .string()
  .transform(parsePairs)
  .refine(
    (pairs) =>
      pairs?.every(([name, value]) => headerName.test(name) && /^[\x20-\x7e]*$/.test(value)) === true,
    { error: 'must be name=value,name=value… with %-encoding in values' },
  )
  .transform((pairs) =>
    Object.fromEntries((pairs ?? []).map(([name, value]) => [name.toLowerCase(), new Secret(value)])),
  );
const timeout = positiveInteger('a number of milliseconds');

/** The variables of OpenTelemetry that this server reads, by the names and with the meaning of its specification. */
export const tracingVariables = {
  OTEL_SDK_DISABLED: z
    .string()
    .toLowerCase()
    .pipe(z.enum(['true', 'false'], { error: 'must be true or false' }))
    .optional(),
  OTEL_TRACES_EXPORTER: z.enum(['otlp', 'none'], { error: 'must be otlp or none' }).optional(),
  OTEL_EXPORTER_OTLP_ENDPOINT: endpoint.optional(),
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: endpoint.optional(),
  OTEL_EXPORTER_OTLP_PROTOCOL: protocol.optional(),
  OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: protocol.optional(),
  OTEL_EXPORTER_OTLP_HEADERS: headers.optional(),
  OTEL_EXPORTER_OTLP_TRACES_HEADERS: headers.optional(),
  OTEL_EXPORTER_OTLP_TIMEOUT: timeout.optional(),
  OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: timeout.optional(),
  OTEL_SERVICE_NAME: z.string().optional(),
  OTEL_RESOURCE_ATTRIBUTES: z
    .string()
    .transform(parsePairs)
    .refine((pairs) => pairs !== undefined, {
      error: 'must be name=value,name=value… with %-encoding in values',
    })
    .optional(),
  OTEL_TRACES_SAMPLER: z.enum(samplerNames, { error: `must be ${samplerNames.join(', ')}` }).optional(),
  OTEL_TRACES_SAMPLER_ARG: z
    .string()
    .regex(/^(0?\.\d+|[01](\.0*)?|0\.)$/, { error: 'must be a share from 0 to 1, such as 0.1' })
    .transform(Number)
    .optional(),
};

const tracingEnvironment = z.object(tracingVariables);

/** Returns where traces are sent; undefined unless an endpoint, or `OTEL_TRACES_EXPORTER=otlp`, asks for it. */
export function readTracingSettings(data: z.output<typeof tracingEnvironment>): TracingSettings | undefined {
  const base = data.OTEL_EXPORTER_OTLP_ENDPOINT;
  const own = data.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT;
  const isWanted = data.OTEL_TRACES_EXPORTER ? data.OTEL_TRACES_EXPORTER === 'otlp' : Boolean(base || own);
  if (!isWanted || data.OTEL_SDK_DISABLED === 'true') return undefined;
  return {
    // The endpoint of all signals gets a path for each of them; the one of traces is the whole address.
    url: own ?? appendPath(base ?? defaultEndpoint),
    protocol: data.OTEL_EXPORTER_OTLP_TRACES_PROTOCOL ?? data.OTEL_EXPORTER_OTLP_PROTOCOL ?? 'http/protobuf',
    headers: data.OTEL_EXPORTER_OTLP_TRACES_HEADERS ?? data.OTEL_EXPORTER_OTLP_HEADERS ?? {},
    timeoutMs: data.OTEL_EXPORTER_OTLP_TRACES_TIMEOUT ?? data.OTEL_EXPORTER_OTLP_TIMEOUT ?? 10_000,
    resource: {
      'service.name': 'app-connections',
      ...Object.fromEntries(data.OTEL_RESOURCE_ATTRIBUTES ?? []),
      ...(data.OTEL_SERVICE_NAME && { 'service.name': data.OTEL_SERVICE_NAME }),
    },
    sampler: data.OTEL_TRACES_SAMPLER ?? 'parentbased_always_on',
    ratio: data.OTEL_TRACES_SAMPLER_ARG ?? 1,
  };
}

function appendPath(base: string): string {
  const url = new URL(base);
  url.pathname = `${url.pathname.replace(/\/$/, '')}/v1/traces`;
  return url.href;
}

/** Parses `name=value,name=value`, where values are percent-encoded; undefined for any other text. */
function parsePairs(text: string): [string, string][] | undefined {
  const pairs: [string, string][] = [];
  for (const part of text.split(',')) {
    if (part.trim() === '') continue;
    const at = part.indexOf('=');
    const name = part.slice(0, at).trim();
    if (at < 0 || name === '') return undefined;
    try {
      pairs.push([name, decodeURIComponent(part.slice(at + 1).trim())]);
    } catch {
      return undefined;
    }
  }
  return pairs;
}
