import { channel } from 'node:diagnostics_channel';

/** A request that has ended. Every value is one of a few. */
export interface RequestMeasurement {
  /** `graphql`, `rest`, `proxy`, `dashboard` or `other`. */
  surface: string;
  /** The field of the schema, the route, or `other`. */
  operation: string;
  /** `OK`, an error code, `ABORTED` or `HTTP_404`. */
  outcome: string;
  ms: number;
  databaseMs: number;
  upstreamMs: number;
}

/** A request to another host that has ended, or whose response headers have arrived. */
export interface UpstreamMeasurement {
  /** `2xx` and so on, or the reason of an OutboundError. */
  outcome: string;
  ms: number;
}

/** A request to an app that was not sent, because of the rate budget of its connection. */
export interface BudgetRefusalMeasurement {
  reason: BudgetRefusalReason;
}

/**
 * The reasons for which a rate budget refuses a request. `blocked`: the app has refused requests until a time that it has stated.
 * `spent`: the share of the connection is spent. `unknown_limit`: the app has not answered the first requests. `queue_full`: too
 * many requests wait.
 */
export const budgetRefusalReasons = ['blocked', 'spent', 'unknown_limit', 'queue_full'] as const;

/** The reason for which a rate budget refuses a request. */
export type BudgetRefusalReason = (typeof budgetRefusalReasons)[number];

/** A batch of audit events that was delivered to AUDIT_STREAM, or was not. */
export interface AuditStreamMeasurement {
  events: number;
  isDelivered: boolean;
}

/** A channel that costs nothing without subscribers. */
export interface MeasurementChannel<Measurement> {
  readonly hasSubscribers: boolean;
  publish(measurement: Measurement): void;
  subscribe(listener: (measurement: Measurement) => void): void;
  unsubscribe(listener: (measurement: Measurement) => void): boolean;
}

/** Node's types do not know what a channel transports. */
const measurementChannel = <Measurement>(name: string): MeasurementChannel<Measurement> =>
  channel(name) as never;

/** Requests of callers. */
export const requestMeasurements = measurementChannel<RequestMeasurement>('app-connections:request');

/** Requests to apps and identity providers. */
export const upstreamMeasurements = measurementChannel<UpstreamMeasurement>('app-connections:upstream');

/** Requests that rate budgets have refused. */
export const budgetRefusalMeasurements = measurementChannel<BudgetRefusalMeasurement>(
  'app-connections:budget-refusal',
);

/** Deliveries to AUDIT_STREAM. */
export const auditStreamMeasurements = measurementChannel<AuditStreamMeasurement>(
  'app-connections:audit-stream',
);
