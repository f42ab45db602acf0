import { fileInsteadOf, type VariableDocs } from './variable-docs.ts';

/** The documentation of the variables for logs and audit trails. */
export const operationDocs = {
  METRICS_PORT: {
    group: 'Logging and audit',
    description:
      'The port on which `GET /metrics` serves [metrics](metrics.md) for Prometheus. It has to differ from `PORT`.',
    default: 'none: no metrics',
  },
  METRICS_HOST: {
    group: 'Logging and audit',
    description: 'The address or host name to listen on for metrics. Use `::` or `0.0.0.0` in a container.',
  },
  METRICS_TOKEN: {
    group: 'Logging and audit',
    description: 'The bearer token that `/metrics` requires. Needs `METRICS_PORT`.',
    default: 'none: every client that reaches the port can read the metrics',
  },
  METRICS_TOKEN_FILE: fileInsteadOf('METRICS_TOKEN', 'Logging and audit'),
  LOG_LEVEL: {
    group: 'Logging and audit',
    description: '`fatal`, `error`, `warn`, `info`, `debug`, `trace` or `silent`.',
  },
  AUDIT_STREAM: {
    group: 'Logging and audit',
    description:
      'Where audit events are [streamed](audit-stream.md) to, for a SIEM: a file, or a receiver of syslog over TLS or TCP. In production, TCP without TLS is for loopback addresses only. Set it on all servers.',
    example: 'file:///var/log/app-connections/audit.jsonl` or `syslog+tls://siem.example:6514',
    default: 'none: audit events are only stored',
  },
  AUDIT_CHECKPOINT_FILE: {
    group: 'Logging and audit',
    description:
      'The file to which this server appends [checkpoints](audit.md#checkpoints) of the audit trails. Each server needs its own.',
    default: '`audit-checkpoints.jsonl` in `DATA_DIR`; in production none, and only the log has them',
  },
  AUDIT_CHECKPOINT_URL: {
    group: 'Logging and audit',
    description:
      'A URL to which the server also sends [checkpoints](audit.md#checkpoints), by `POST`, as lines of JSON. In production it has to be https.',
    example: 'https://audit.example/checkpoints',
    default: 'none',
  },
  AUDIT_CHECKPOINT_TOKEN: {
    group: 'Logging and audit',
    description: 'The bearer token that the server sends to `AUDIT_CHECKPOINT_URL`.',
    default: 'none',
  },
  AUDIT_CHECKPOINT_TOKEN_FILE: {
    group: 'Logging and audit',
    description: 'A file that holds that token instead. The server reads it each time it sends checkpoints.',
    default: 'none',
  },
} satisfies Record<string, VariableDocs>;
