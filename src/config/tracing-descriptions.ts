import type { VariableDocs } from './variable-docs.ts';

const group = 'Traces';

/** The documentation of the variables of OpenTelemetry. */
export const tracingDocs = {
  OTEL_EXPORTER_OTLP_ENDPOINT: {
    group,
    description:
      'The receiver of [traces](traces.md) over OTLP/HTTP; `/v1/traces` is added to it. The server sends no metrics and no logs there.',
    example: 'http://localhost:4318',
    default: 'none: no traces',
  },
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: {
    group,
    description: 'The whole address for traces, instead of `OTEL_EXPORTER_OTLP_ENDPOINT`.',
    example: 'https://collector.example/v1/traces',
    default: 'none',
  },
  OTEL_TRACES_EXPORTER: {
    group,
    description: '`otlp`: send traces, without an endpoint to `http://localhost:4318`. `none`: send none.',
    default: '`otlp` if there is an endpoint, otherwise `none`',
  },
  OTEL_SDK_DISABLED: {
    group,
    description: '`true`: send no traces, whatever the other variables say.',
    default: '`false`',
  },
  OTEL_EXPORTER_OTLP_PROTOCOL: {
    group,
    description: '`http/protobuf` or `http/json`. `grpc` is not supported.',
    default: '`http/protobuf`',
  },
  OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: {
    group,
    description: 'The protocol for traces, instead of `OTEL_EXPORTER_OTLP_PROTOCOL`.',
    default: 'none',
  },
  OTEL_EXPORTER_OTLP_HEADERS: {
    group,
    description: 'Headers for the receiver, such as its credentials; values are percent-encoded.',
    example: 'authorization=Bearer%20<token>,x-team=identity',
    default: 'none',
  },
  OTEL_EXPORTER_OTLP_TRACES_HEADERS: {
    group,
    description: 'The headers for traces, instead of `OTEL_EXPORTER_OTLP_HEADERS`.',
    default: 'none',
  },
  OTEL_EXPORTER_OTLP_TIMEOUT: {
    group,
    description: 'The time limit of a request to the receiver, in milliseconds.',
    default: '`10000`',
  },
  OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: {
    group,
    description: 'The time limit for traces, instead of `OTEL_EXPORTER_OTLP_TIMEOUT`.',
    default: 'none',
  },
  OTEL_SERVICE_NAME: {
    group,
    description: 'The name of this service in traces.',
    default: '`service.name` of `OTEL_RESOURCE_ATTRIBUTES`, or `app-connections`',
  },
  OTEL_RESOURCE_ATTRIBUTES: {
    group,
    description: 'What every span says about this server; values are percent-encoded.',
    example: 'deployment.environment.name=production,service.namespace=identity',
    default: 'none',
  },
  OTEL_TRACES_SAMPLER: {
    group,
    description:
      'Which traces are recorded: `always_on`, `always_off`, `traceidratio`, `parentbased_always_on`, `parentbased_always_off` or `parentbased_traceidratio`. See [Sampling](traces.md#sampling).',
    default: '`parentbased_always_on`',
  },
  OTEL_TRACES_SAMPLER_ARG: {
    group,
    description: 'The share of traces for the samplers with `traceidratio`, from 0 to 1.',
    example: '0.1',
    default: '`1`',
  },
} satisfies Record<string, VariableDocs>;
